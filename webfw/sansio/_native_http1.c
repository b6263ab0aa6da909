/* The messages that nearly all are, in one pass over their bytes: the native twins of sansio/http1 and of the field map.
 *
 * Each function here knows the plain case only.  For anything else, be it unusual or wrong, it answers None without
 * saying why, and the Python function that called it begins anew: that one decides, and words every error.  So a fault
 * in here could refuse nothing that is right; what must never be is that something is taken for plain that Python would
 * take otherwise, which is what tests/sansio/test_native.py and tests/fuzz look for.
 */

#include "_native.h"

#include <string.h>

enum { TCHAR = 1, TARGET = 2, VALUE = 4 };

/* What each octet may be part of.  RFC 9110 sections 5.6.2 (tchar) and 5.5 (field values: no control character but the
 * tab), and the characters of a request target as grammar.py has them: visible ASCII without "#".
 */
static const unsigned char kinds[256] = {
    0, 0, 0, 0, 0, 0, 0, 0, 0, 4, 0, 0, 0, 0, 0, 0, /* controls: the tab */
    0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
    4, 7, 6, 5, 7, 7, 7, 7, 6, 6, 7, 7, 6, 7, 7, 6, /*   ! " # $ % & ' ( ) * + , - . / */
    7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 6, 6, 6, 6, 6, 6, /* 0 1 2 3 4 5 6 7 8 9 : ; < = > ? */
    6, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, /* @ A B C D E F G H I J K L M N O */
    7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 6, 6, 6, 7, 7, /* P Q R S T U V W X Y Z [ \ ] ^ _ */
    7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, /* ` a b c d e f g h i j k l m n o */
    7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 6, 7, 6, 7, 0, /* p q r s t u v w x y z { | } ~ DEL */
    4, 4, 4, 4, 4, 4, 4, 4, 4, 4, 4, 4, 4, 4, 4, 4, /* obs-text, from here on */
    4, 4, 4, 4, 4, 4, 4, 4, 4, 4, 4, 4, 4, 4, 4, 4,
    4, 4, 4, 4, 4, 4, 4, 4, 4, 4, 4, 4, 4, 4, 4, 4,
    4, 4, 4, 4, 4, 4, 4, 4, 4, 4, 4, 4, 4, 4, 4, 4,
    4, 4, 4, 4, 4, 4, 4, 4, 4, 4, 4, 4, 4, 4, 4, 4,
    4, 4, 4, 4, 4, 4, 4, 4, 4, 4, 4, 4, 4, 4, 4, 4,
    4, 4, 4, 4, 4, 4, 4, 4, 4, 4, 4, 4, 4, 4, 4, 4,
    4, 4, 4, 4, 4, 4, 4, 4, 4, 4, 4, 4, 4, 4, 4, 4,
};

/* --- words --- */

int
words_begin(Words *words)
{
#define WORD(field, text)                                             \
    if ((words->field = PyUnicode_InternFromString(text)) == NULL) { \
        return -1;                                                    \
    }
    EVERY_WORD(WORD)
#undef WORD
    return 0;
}

void
words_end(Words *words)
{
#define WORD(field, text) Py_CLEAR(words->field);
    EVERY_WORD(WORD)
#undef WORD
}

/* --- bytes --- */

static unsigned char
lower(unsigned char octet)
{
    return octet >= 'A' && octet <= 'Z' ? octet | 32 : octet;
}

/* Whether `size` octets are `word`, which is in lower case, in whatever case they are. */
static int
is_word(const unsigned char *octets, Py_ssize_t size, const char *word)
{
    for (Py_ssize_t at = 0; at < size; at++) {
        if (lower(octets[at]) != (unsigned char)word[at]) {
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

/* The octets of a str that is ASCII; NULL, which is no error, for anything else.  Where UTF-8 has as many octets as the
 * text has characters, each is ASCII.  Subclasses may be written otherwise than they read, so Python has them.
 */
static const unsigned char *
ascii_of(PyObject *text, Py_ssize_t *size)
{
    const char *octets = NULL;
    if (PyUnicode_CheckExact(text)) {
        if ((octets = PyUnicode_AsUTF8AndSize(text, size)) == NULL) {
            PyErr_Clear(); /* a lone surrogate, which Python will complain of */
        }
        else if (PyUnicode_GetLength(text) != *size) {
            octets = NULL;
        }
    }
    return (const unsigned char *)octets;
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

static PyObject *
length_of(const Plain *plain)
{
    if (plain->content_length < 0) {
        Py_RETURN_NONE;
    }
    return PyLong_FromLongLong(plain->content_length);
}

/* Assign every attribute of a head that begins at `start`; -1 and an error where one cannot be made. */
static int
fill(PyObject *head, const Words *words, const unsigned char *begin, Py_ssize_t start, const Plain *plain,
     PyObject *host)
{
    return PyObject_SetAttr(head, words->host, host) < 0
           || give(head, words->content_length, length_of(plain)) < 0
           || give(head, words->method, method_of(words, begin, plain->method_end)) < 0
           || give(head, words->target, text_of(plain->target, plain->target_end)) < 0
           || give(head, words->fields, text_of(plain->fields, plain->fields_end)) < 0
           || give(head, words->end, PyLong_FromSsize_t(start + plain->end)) < 0
           || give(head, words->minor, PyLong_FromLong(1)) < 0
           || PyObject_SetAttr(head, words->version, words->http_1_1) < 0
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
    Py_buffer data;
    if (PyErr_Occurred() || PyObject_GetBuffer(arguments[1], &data, PyBUF_SIMPLE) < 0) {
        PyErr_Clear(); /* a limit that is no size, or larger than any; or no bytes */
        Py_RETURN_NONE;
    }
    const unsigned char *octets = data.buf;
    PyObject *result = NULL;
    Plain plain;
    int known = 0;

    if (start >= 0 && start <= data.len
        && read_plain(octets + start, octets + data.len, max_fields, max_target, &plain)
        && plain.end <= max_size) {
        /* A value of Host that has not been found valid yet is looked at in Python. */
        PyObject *host = text_of(plain.host, plain.host_end);
        known = host == NULL ? -1 : PySequence_Contains(arguments[6], host);
        if (known > 0 && (result = PyObject_CallNoArgs(arguments[0])) != NULL
            && fill(result, PyModule_GetState(module), octets + start, start, &plain, host) < 0) {
            Py_CLEAR(result);
        }
        Py_XDECREF(host);
    }
    PyBuffer_Release(&data);
    if (known == 0) {
        Py_RETURN_NONE;
    }
    return result;
}

/* --- messages into bytes --- */

/* Room for a head; a larger one is not plain. */
#define ROOM 4096

/* Append a str of ASCII whose octets all are of a kind; the place behind it, NULL when it is not that. */
static char *
append(char *at, const char *end, PyObject *text, unsigned char kind)
{
    Py_ssize_t size;
    const unsigned char *octets = ascii_of(text, &size);

    if (octets == NULL || size > end - at) {
        return NULL;
    }
    for (Py_ssize_t i = 0; i < size; i++) {
        if (!(kinds[octets[i]] & kind)) {
            return NULL;
        }
        *at++ = (char)octets[i];
    }
    return at;
}

/* Append the line end before it and a field, as `append` does. */
static char *
append_field(char *at, const char *end, PyObject *field)
{
    if (!PyTuple_CheckExact(field) || PyTuple_Size(field) != 2 || end - at < 2) {
        return NULL;
    }
    *at++ = '\r';
    *at++ = '\n';
    const char *name = at;
    at = append(at, end, PyTuple_GetItem(field, 0), TCHAR);
    if (at == NULL || at == name || end - at < 2) {
        return NULL;
    }
    *at++ = ':';
    *at++ = ' ';
    return append(at, end, PyTuple_GetItem(field, 1), VALUE);
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
    /* What runs nobody's code when it is read, and what Python can read anew: an iterator has given away what was read. */
    if (!(PyList_CheckExact(arguments[1]) || PyTuple_CheckExact(arguments[1])
          || Py_IS_TYPE(arguments[1], &PyDictItems_Type))
        || !PyBytes_CheckExact(arguments[2])) {
        Py_RETURN_NONE;
    }
    if ((fields = PyObject_GetIter(arguments[1])) == NULL) {
        return NULL;
    }
    char *at = append(room, end, arguments[0], VALUE);
    while (at != NULL && (field = PyIter_Next(fields)) != NULL) {
        at = append_field(at, end, field);
        Py_DECREF(field);
    }
    Py_DECREF(fields);
    if (PyErr_Occurred()) { /* a dict that another thread has changed */
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
        memcpy(octets, room, (size_t)size);
        memcpy(octets + size, PyBytes_AsString(arguments[2]), (size_t)rest);
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
    const unsigned char *line_end = at < stop ? memchr(at, '\n', (size_t)(stop - at)) : NULL;
    if (line_end == NULL || line_end == at || line_end[-1] != '\r'
        || (*colon = memchr(at, ':', (size_t)(line_end - at))) == NULL) {
        return NULL;
    }
    *value = *colon + 1;
    *value_end = line_end - 1;
    strip(value, value_end);
    return memchr(*value, '\r', (size_t)(*value_end - *value)) == NULL ? line_end + 1 : NULL;
}

/* A new reference to what `names`, a dict, has for a name; NULL when it has nothing. */
static PyObject *
spelling(PyObject *names, PyObject *name)
{
    PyObject *spelled;
#ifdef Py_GIL_DISABLED
    PyDict_GetItemRef(names, name, &spelled); /* another thread may empty it now */
#else
    spelled = PyDict_GetItemWithError(names, name);
    Py_XINCREF(spelled);
#endif
    return spelled;
}

/* plain_fields(block, names) */
PyObject *
plain_fields(PyObject *Py_UNUSED(module), PyObject *const *arguments, Py_ssize_t count)
{
    if (count != 2) {
        PyErr_Format(PyExc_TypeError, "plain_fields() takes 2 arguments, not %zd", count);
        return NULL;
    }
    Py_ssize_t size, lines = 0;
    const unsigned char *at = ascii_of(arguments[0], &size), *colon, *value, *value_end, *next;
    if (at == NULL) {
        Py_RETURN_NONE;
    }
    PyObject *result = PyDict_New();
    int done = result != NULL;
    for (const unsigned char *stop = at + size; done && at < stop; at = next, lines++) {
        PyObject *name = NULL, *spelled = NULL, *text = NULL;
        /* A name that is not known yet is spelled in Python. */
        done = (next = read_line(at, stop, &colon, &value, &value_end)) != NULL
               && (name = text_of(at, colon)) != NULL
               && (spelled = spelling(arguments[1], name)) != NULL
               && (text = text_of(value, value_end)) != NULL
               && PyDict_SetItem(result, spelled, text) == 0;
        Py_XDECREF(name);
        Py_XDECREF(spelled);
        Py_XDECREF(text);
    }
    if (done && PyDict_Size(result) == lines) { /* else a name came twice */
        return result;
    }
    PyErr_Clear();
    Py_XDECREF(result);
    Py_RETURN_NONE;
}

static PyObject *
raw_field(const unsigned char *name, const unsigned char *name_end, const unsigned char *value,
          const unsigned char *value_end)
{
    PyObject *pair = NULL, *text = NULL, *lowered = PyBytes_FromStringAndSize(NULL, name_end - name);
    if (lowered != NULL) {
        for (char *to = PyBytes_AsString(lowered); name < name_end; name++) {
            *to++ = (char)lower(*name);
        }
        text = PyBytes_FromStringAndSize((const char *)value, value_end - value);
    }
    if (text != NULL) {
        pair = PyTuple_Pack(2, lowered, text);
    }
    Py_XDECREF(lowered);
    Py_XDECREF(text);
    return pair;
}

/* raw_fields(block) */
PyObject *
raw_fields(PyObject *Py_UNUSED(module), PyObject *const *arguments, Py_ssize_t count)
{
    if (count != 1) {
        PyErr_Format(PyExc_TypeError, "raw_fields() takes 1 argument, not %zd", count);
        return NULL;
    }
    Py_ssize_t size;
    const unsigned char *at = ascii_of(arguments[0], &size), *colon, *value, *value_end, *next;
    if (at == NULL) {
        Py_RETURN_NONE;
    }
    PyObject *result = PyList_New(0);
    int done = result != NULL;
    for (const unsigned char *stop = at + size; done && at < stop; at = next) {
        PyObject *pair = NULL;
        done = (next = read_line(at, stop, &colon, &value, &value_end)) != NULL
               && (pair = raw_field(at, colon, value, value_end)) != NULL
               && PyList_Append(result, pair) == 0;
        Py_XDECREF(pair);
    }
    if (done) {
        return result;
    }
    PyErr_Clear();
    Py_XDECREF(result);
    Py_RETURN_NONE;
}

/* --- chunks --- */

/* The value of a hexadecimal digit, -1 for any other octet. */
static int
hex_value(unsigned char octet)
{
    if (octet >= '0' && octet <= '9') {
        return octet - '0';
    }
    octet |= 32;
    return octet >= 'a' && octet <= 'f' ? octet - 'a' + 10 : -1;
}

/* A chunk of RFC 9112 section 7.1 that is there whole, not the last one, and has no extension: where the next one begins,
 * NULL for any other.
 */
static const unsigned char *
read_chunk(const unsigned char *at, const unsigned char *stop, const unsigned char **data, Py_ssize_t *size)
{
    const unsigned char *digits = at;
    int digit;

    /* Seven digits fit wherever Python runs, and are more than is ever there whole. */
    for (*size = 0; at < stop && at - digits < 7 && (digit = hex_value(*at)) >= 0; at++) {
        *size = *size * 16 + digit;
    }
    if (*size == 0 || stop - at < 4 || *size > stop - at - 4 || at[0] != '\r' || at[1] != '\n') {
        return NULL;
    }
    *data = at + 2;
    at += 2 + *size;
    return at[0] == '\r' && at[1] == '\n' ? at + 2 : NULL;
}

/* plain_chunks(data, start, room) */
PyObject *
plain_chunks(PyObject *Py_UNUSED(module), PyObject *const *arguments, Py_ssize_t count)
{
    if (count != 3) {
        PyErr_Format(PyExc_TypeError, "plain_chunks() takes 3 arguments, not %zd", count);
        return NULL;
    }
    const Py_ssize_t start = PyLong_AsSsize_t(arguments[1]), room = PyLong_AsSsize_t(arguments[2]);
    Py_buffer data;
    if (PyErr_Occurred() || PyObject_GetBuffer(arguments[0], &data, PyBUF_SIMPLE) < 0) {
        return NULL;
    }
    if (start < 0 || start > data.len) {
        PyBuffer_Release(&data);
        PyErr_SetString(PyExc_ValueError, "the start is not within the data");
        return NULL;
    }
    const unsigned char *begin = (const unsigned char *)data.buf + start, *stop = begin + (data.len - start);
    const unsigned char *end = begin, *next, *octets;
    Py_ssize_t size, total = 0;
    while ((next = read_chunk(end, stop, &octets, &size)) != NULL && size <= room - total) {
        total += size;
        end = next;
    }
    PyObject *payload = PyBytes_FromStringAndSize(NULL, total);
    if (payload != NULL) {
        char *to = PyBytes_AsString(payload);
        for (const unsigned char *at = begin; at < end; at = next, to += size) {
            next = read_chunk(at, stop, &octets, &size);
            memcpy(to, octets, (size_t)size);
        }
    }
    PyBuffer_Release(&data);
    return payload == NULL ? NULL : Py_BuildValue("(Nn)", payload, start + (end - begin));
}
