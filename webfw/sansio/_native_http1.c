/* The messages that nearly all are, in one pass over their bytes: the native twins of sansio/http1 and of the field map.
 *
 * Each function here knows the plain case only.  For anything else, be it unusual or wrong, it answers None without
 * saying why, and the Python function that called it begins anew: that one decides, and words every error.  So a fault
 * in here could refuse nothing that is right; what must never be is that something is taken for plain that Python would
 * take otherwise, which is what tests/sansio/test_native.py and tests/fuzz look for.
 */

#include "_native.h"

#include <string.h>

enum { TCHAR = 1, TARGET = 2, VALUE = 4, UPPER = 8 };

/* RFC 9110 sections 5.6.2 (tchar) and 5.5 (field values: no control character but the tab), and the characters of a
 * request target as grammar.py has them: visible ASCII without "#".
 */
static unsigned char kinds[256]; /* the same for every interpreter, whichever writes it */

static void
kinds_begin(void)
{
    for (int octet = 0; octet < 256; octet++) {
        unsigned char kind = 0;
        const int letter = (octet | 32) >= 'a' && (octet | 32) <= 'z';
        const int digit = octet >= '0' && octet <= '9';
        if (letter || digit || (octet > 32 && octet < 127 && strchr("!#$%&'*+-.^_`|~", octet) != NULL)) {
            kind |= TCHAR;
        }
        if (octet > 32 && octet < 127 && octet != '#') {
            kind |= TARGET;
        }
        if (octet == '\t' || (octet >= 32 && octet != 127)) {
            kind |= VALUE;
        }
        if (letter && octet < 'a') {
            kind |= UPPER;
        }
        kinds[octet] = kind;
    }
}

/* --- words --- */

int
words_begin(Words *words)
{
    kinds_begin();
#define WORD(field, text)                                             \
    if ((words->field = PyUnicode_InternFromString(text)) == NULL) { \
        return -1;                                                    \
    }
    WORD(method, "method")
    WORD(target, "target")
    WORD(version, "version")
    WORD(minor, "minor")
    WORD(fields, "fields")
    WORD(host, "host")
    WORD(end, "end")
    WORD(keep_alive, "keep_alive")
    WORD(content_length, "content_length")
    WORD(chunked, "chunked")
    WORD(expect_continue, "expect_continue")
    WORD(upgrade, "upgrade")
    WORD(http_1_1, "HTTP/1.1")
    WORD(get, "GET")
    WORD(head, "HEAD")
    WORD(post, "POST")
#undef WORD
    return (words->one = PyLong_FromLong(1)) == NULL ? -1 : 0;
}

#define EVERY_WORD(DO)                                                                                          \
    DO(method) DO(target) DO(version) DO(minor) DO(fields) DO(host) DO(end) DO(keep_alive) DO(content_length) \
    DO(chunked) DO(expect_continue) DO(upgrade) DO(http_1_1) DO(one) DO(get) DO(head) DO(post)

int
words_visit(Words *words, visitproc visit, void *arg)
{
#define VISIT(field) Py_VISIT(words->field);
    EVERY_WORD(VISIT)
#undef VISIT
    return 0;
}

void
words_end(Words *words)
{
#define CLEAR(field) Py_CLEAR(words->field);
    EVERY_WORD(CLEAR)
#undef CLEAR
}

/* --- bytes --- */

/* Whether `size` octets are `word`, which is in lower case, in whatever case they are. */
static int
is_word(const unsigned char *octets, Py_ssize_t size, const char *word)
{
    for (Py_ssize_t at = 0; at < size; at++) {
        const unsigned char octet = octets[at];
        if ((kinds[octet] & UPPER ? octet | 32 : octet) != (unsigned char)word[at]) {
            return 0;
        }
    }
    return 1;
}

static void
strip(const unsigned char **begin, const unsigned char **end)
{
    while (*begin < *end && (**begin == ' ' || **begin == '\t')) {
        ++*begin;
    }
    while (*begin < *end && ((*end)[-1] == ' ' || (*end)[-1] == '\t')) {
        --*end;
    }
}

static PyObject *
text_of(const unsigned char *begin, const unsigned char *end)
{
    return PyUnicode_DecodeLatin1((const char *)begin, end - begin, NULL);
}

/* Set an attribute to a new reference, which is taken; NULL is an error that is set already. */
static int
give(PyObject *object, PyObject *name, PyObject *value)
{
    if (value == NULL) {
        return -1;
    }
    const int result = PyObject_SetAttr(object, name, value);
    Py_DECREF(value);
    return result;
}

/* --- request heads --- */

typedef struct {
    const unsigned char *method_end, *target, *target_end, *fields, *fields_end, *host, *host_end;
    Py_ssize_t end;
    long long content_length;
    int keep_alive;
} Plain;

/* Read a head of RFC 9112 sections 2 to 5 that is plain: HTTP/1.1, a target that is a path, one Host, nothing about
 * framing but one Content-Length, no list in Connection, no Expect.  0 for any other.
 */
static int
read_plain(const unsigned char *begin, const unsigned char *stop, Py_ssize_t max_fields, Py_ssize_t max_target,
           Plain *plain)
{
    const unsigned char *at = begin;

    while (at < stop && kinds[*at] & TCHAR) {
        at++;
    }
    plain->method_end = at;
    if (at == begin || at - begin > 24 || stop - at < 2 || at[0] != ' ' || at[1] != '/'
        || (at - begin == 7 && memcmp(begin, "CONNECT", 7) == 0)) {
        return 0;
    }
    plain->target = ++at;
    while (at < stop && kinds[*at] & TARGET) {
        at++;
    }
    plain->target_end = at;
    if (at - plain->target > max_target || stop - at < 11 || memcmp(at, " HTTP/1.1\r\n", 11) != 0) {
        return 0;
    }
    plain->fields = at += 11;
    plain->host = plain->host_end = NULL;
    plain->content_length = -1;
    plain->keep_alive = -1;

    for (Py_ssize_t fields = 0;; fields++) {
        const unsigned char *name = at;
        if (stop - at < 2) {
            return 0;
        }
        if (at[0] == '\r' && at[1] == '\n') {
            plain->fields_end = at;
            plain->end = at + 2 - begin;
            return plain->host != NULL && fields <= max_fields;
        }
        while (at < stop && kinds[*at] & TCHAR) {
            at++;
        }
        const Py_ssize_t size = at - name;
        if (size == 0 || at == stop || *at != ':') {
            return 0;
        }
        const unsigned char *value = ++at;
        while (at < stop && kinds[*at] & VALUE) {
            at++;
        }
        if (stop - at < 2 || at[0] != '\r' || at[1] != '\n') {
            return 0;
        }
        const unsigned char *value_end = at;
        at += 2;

        switch (size) {
        case 4:
            if (is_word(name, size, "host")) {
                if (plain->host != NULL) {
                    return 0;
                }
                strip(&value, &value_end);
                plain->host = value;
                plain->host_end = value_end;
            }
            break;
        case 6:
            if (is_word(name, size, "expect")) {
                return 0;
            }
            break;
        case 10:
            if (is_word(name, size, "connection")) {
                strip(&value, &value_end);
                if (plain->keep_alive >= 0) {
                    return 0;
                }
                if (value_end - value == 10 && is_word(value, 10, "keep-alive")) {
                    plain->keep_alive = 1;
                }
                else if (value_end - value == 5 && is_word(value, 5, "close")) {
                    plain->keep_alive = 0;
                }
                else {
                    return 0;
                }
            }
            break;
        case 14:
            if (is_word(name, size, "content-length")) {
                strip(&value, &value_end);
                if (plain->content_length >= 0 || value == value_end || value_end - value > 18) {
                    return 0;
                }
                plain->content_length = 0;
                for (; value < value_end; value++) {
                    if (*value < '0' || *value > '9') {
                        return 0;
                    }
                    plain->content_length = plain->content_length * 10 + (*value - '0');
                }
            }
            break;
        case 17:
            if (is_word(name, size, "transfer-encoding")) {
                return 0;
            }
            break;
        }
    }
}

static PyObject *
method_of(const Words *words, const unsigned char *begin, const unsigned char *end)
{
    PyObject *known = NULL;
    const Py_ssize_t size = end - begin;
    if (size == 3 && memcmp(begin, "GET", 3) == 0) {
        known = words->get;
    }
    else if (size == 4 && memcmp(begin, "POST", 4) == 0) {
        known = words->post;
    }
    else if (size == 4 && memcmp(begin, "HEAD", 4) == 0) {
        known = words->head;
    }
    if (known != NULL) {
        Py_INCREF(known);
        return known;
    }
    return text_of(begin, end);
}

/* Assign every attribute of a head; takes the reference to `host`. */
static int
fill(PyObject *head, const Words *words, const unsigned char *begin, Py_ssize_t start, const Plain *plain,
     PyObject *host)
{
    PyObject *length;

    if (plain->content_length >= 0) {
        length = PyLong_FromLongLong(plain->content_length);
    }
    else {
        length = Py_None;
        Py_INCREF(length);
    }
    if (give(head, words->host, host) < 0) {
        Py_XDECREF(length);
        return -1;
    }
    return give(head, words->content_length, length) < 0
           || give(head, words->method, method_of(words, begin, plain->method_end)) < 0
           || give(head, words->target, text_of(plain->target, plain->target_end)) < 0
           || give(head, words->fields, text_of(plain->fields, plain->fields_end)) < 0
           || give(head, words->end, PyLong_FromSsize_t(start + plain->end)) < 0
           || PyObject_SetAttr(head, words->version, words->http_1_1) < 0
           || PyObject_SetAttr(head, words->minor, words->one) < 0
           || PyObject_SetAttr(head, words->keep_alive, plain->keep_alive ? Py_True : Py_False) < 0
           || PyObject_SetAttr(head, words->chunked, Py_False) < 0
           || PyObject_SetAttr(head, words->expect_continue, Py_False) < 0
           || PyObject_SetAttr(head, words->upgrade, Py_False) < 0
               ? -1
               : 0;
}

/* plain_head(kind, data, start, max_size, max_fields, max_target, hosts) */
PyObject *
plain_head(PyObject *module, PyObject *const *arguments, Py_ssize_t count)
{
    if (count != 7) {
        PyErr_Format(PyExc_TypeError, "plain_head() takes 7 arguments, not %zd", count);
        return NULL;
    }
    const Py_ssize_t start = PyLong_AsSsize_t(arguments[2]);
    const Py_ssize_t max_size = PyLong_AsSsize_t(arguments[3]);
    const Py_ssize_t max_fields = PyLong_AsSsize_t(arguments[4]);
    const Py_ssize_t max_target = PyLong_AsSsize_t(arguments[5]);
    if (PyErr_Occurred()) {
        return NULL;
    }
    Py_buffer data;
    if (PyObject_GetBuffer(arguments[1], &data, PyBUF_SIMPLE) < 0) {
        return NULL;
    }
    PyObject *result = NULL, *host;
    Plain plain;
    const unsigned char *begin = (const unsigned char *)data.buf + start;
    int known = 0;

    if (start < 0 || start > data.len
        || !read_plain(begin, (const unsigned char *)data.buf + data.len, max_fields, max_target, &plain)
        || plain.end > max_size) {
        result = Py_None;
        Py_INCREF(result);
    }
    else if ((host = text_of(plain.host, plain.host_end)) != NULL) {
        /* A value of Host that has not been found valid yet is looked at in Python. */
        known = PySequence_Contains(arguments[6], host);
        if (known == 0) {
            result = Py_None;
            Py_INCREF(result);
        }
        else if (known > 0 && (result = PyObject_CallNoArgs(arguments[0])) != NULL) {
            Py_INCREF(host);
            if (fill(result, PyModule_GetState(module), begin, start, &plain, host) < 0) {
                Py_CLEAR(result);
            }
        }
        Py_DECREF(host);
    }
    PyBuffer_Release(&data);
    return result;
}

/* --- messages into bytes --- */

/* Room for a head; a larger one is not plain. */
#define ROOM 4096

/* Append a str of ASCII whose octets all are of a kind; the place behind it, NULL when it is not that. */
static char *
append(char *at, const char *end, PyObject *text, unsigned char kind, int need)
{
    Py_ssize_t size;
    const char *octets;

    if (!PyUnicode_Check(text)) {
        return NULL;
    }
    if ((octets = PyUnicode_AsUTF8AndSize(text, &size)) == NULL) {
        PyErr_Clear(); /* a lone surrogate, which Python will complain of */
        return NULL;
    }
    if (size > end - at || size < need) {
        return NULL;
    }
    for (Py_ssize_t i = 0; i < size; i++) {
        const unsigned char octet = (unsigned char)octets[i];
        if (octet > 127 || !(kinds[octet] & kind)) {
            return NULL;
        }
        *at++ = (char)octet;
    }
    return at;
}

/* plain_message(first_line, fields, body) */
PyObject *
plain_message(PyObject *Py_UNUSED(module), PyObject *const *arguments, Py_ssize_t count)
{
    char room[ROOM];
    const char *end = room + ROOM - 4; /* for two line ends */
    PyObject *fields, *field, *result;

    if (count != 3) {
        PyErr_Format(PyExc_TypeError, "plain_message() takes 3 arguments, not %zd", count);
        return NULL;
    }
    if (!PyBytes_Check(arguments[2]) || (fields = PyObject_GetIter(arguments[1])) == NULL) {
        PyErr_Clear();
        Py_RETURN_NONE;
    }
    char *at = append(room, end, arguments[0], VALUE, 0);
    while (at != NULL && (field = PyIter_Next(fields)) != NULL) {
        if (!PyTuple_Check(field) || PyTuple_Size(field) != 2 || end - at < 4) {
            at = NULL;
        }
        else {
            *at++ = '\r';
            *at++ = '\n';
            at = append(at, end, PyTuple_GetItem(field, 0), TCHAR, 1);
            if (at != NULL && end - at >= 2) {
                *at++ = ':';
                *at++ = ' ';
                at = append(at, end, PyTuple_GetItem(field, 1), VALUE, 0);
            }
            else {
                at = NULL;
            }
        }
        Py_DECREF(field);
    }
    Py_DECREF(fields);
    if (PyErr_Occurred()) { /* of the iterator: not ours */
        return NULL;
    }
    if (at == NULL) {
        Py_RETURN_NONE;
    }
    memcpy(at, "\r\n\r\n", 4);
    const Py_ssize_t size = at + 4 - room;
    const Py_ssize_t rest = PyBytes_Size(arguments[2]);
    if ((result = PyBytes_FromStringAndSize(NULL, size + rest)) != NULL) {
        char *octets = PyBytes_AsString(result);
        memcpy(octets, room, size);
        memcpy(octets + size, PyBytes_AsString(arguments[2]), rest);
    }
    return result;
}

/* --- field blocks --- */

/* One line of a field block that has been validated, from `at` on; where the next one begins, NULL at the end or where
 * a line is not as it should be.
 */
static const unsigned char *
read_line(const unsigned char *at, const unsigned char *stop, const unsigned char **colon,
          const unsigned char **value, const unsigned char **value_end)
{
    const unsigned char *line_end = at < stop ? memchr(at, '\n', stop - at) : NULL;
    if (line_end == NULL || line_end == at || line_end[-1] != '\r'
        || (*colon = memchr(at, ':', line_end - at)) == NULL) {
        return NULL;
    }
    *value = *colon + 1;
    *value_end = line_end - 1;
    strip(value, value_end);
    return memchr(*value, '\r', *value_end - *value) == NULL ? line_end + 1 : NULL;
}

/* plain_fields(block, names) */
PyObject *
plain_fields(PyObject *Py_UNUSED(module), PyObject *const *arguments, Py_ssize_t count)
{
    Py_ssize_t size;
    const char *octets;
    PyObject *result;

    if (count != 2) {
        PyErr_Format(PyExc_TypeError, "plain_fields() takes 2 arguments, not %zd", count);
        return NULL;
    }
    if ((octets = PyUnicode_AsUTF8AndSize(arguments[0], &size)) == NULL) {
        PyErr_Clear();
        Py_RETURN_NONE;
    }
    if ((result = PyDict_New()) == NULL) {
        return NULL;
    }
    const unsigned char *at = (const unsigned char *)octets, *stop = at + size, *colon, *value, *value_end, *next;
    Py_ssize_t lines = 0;
    for (; at < stop; at = next, lines++) {
        next = read_line(at, stop, &colon, &value, &value_end);
        PyObject *name = NULL, *text = NULL, *spelled = NULL;
        int done = 0;
        /* UTF-8 is latin-1 as long as it is ASCII; a name that is not known yet is spelled in Python. */
        if (next != NULL && (name = PyUnicode_DecodeASCII((const char *)at, colon - at, NULL)) != NULL
            && (spelled = PyDict_GetItemWithError(arguments[1], name)) != NULL
            && (text = PyUnicode_DecodeASCII((const char *)value, value_end - value, NULL)) != NULL) {
            done = PyDict_SetItem(result, spelled, text) == 0;
        }
        Py_XDECREF(name);
        Py_XDECREF(text);
        if (!done) {
            PyErr_Clear();
            Py_DECREF(result);
            Py_RETURN_NONE;
        }
    }
    if (PyDict_Size(result) != lines) { /* a name came twice */
        Py_DECREF(result);
        Py_RETURN_NONE;
    }
    return result;
}

/* raw_fields(block) */
PyObject *
raw_fields(PyObject *Py_UNUSED(module), PyObject *const *arguments, Py_ssize_t count)
{
    Py_ssize_t size;
    const char *octets;
    PyObject *result;

    if (count != 1) {
        PyErr_Format(PyExc_TypeError, "raw_fields() takes 1 argument, not %zd", count);
        return NULL;
    }
    if ((octets = PyUnicode_AsUTF8AndSize(arguments[0], &size)) == NULL) {
        PyErr_Clear();
        Py_RETURN_NONE;
    }
    for (Py_ssize_t i = 0; i < size; i++) {
        if ((unsigned char)octets[i] > 127) {
            Py_RETURN_NONE;
        }
    }
    if ((result = PyList_New(0)) == NULL) {
        return NULL;
    }
    const unsigned char *at = (const unsigned char *)octets, *stop = at + size, *colon, *value, *value_end, *next;
    for (; at < stop; at = next) {
        if ((next = read_line(at, stop, &colon, &value, &value_end)) == NULL) {
            Py_DECREF(result);
            Py_RETURN_NONE;
        }
        PyObject *name = PyBytes_FromStringAndSize(NULL, colon - at);
        PyObject *text = PyBytes_FromStringAndSize((const char *)value, value_end - value);
        PyObject *pair = name == NULL || text == NULL ? NULL : PyTuple_Pack(2, name, text);
        if (pair != NULL) {
            char *lower = PyBytes_AsString(name);
            for (Py_ssize_t i = 0; i < colon - at; i++) {
                lower[i] = (char)(kinds[at[i]] & UPPER ? at[i] | 32 : at[i]);
            }
        }
        Py_XDECREF(name);
        Py_XDECREF(text);
        if (pair == NULL || PyList_Append(result, pair) < 0) {
            Py_XDECREF(pair);
            Py_DECREF(result);
            return NULL;
        }
        Py_DECREF(pair);
    }
    return result;
}
