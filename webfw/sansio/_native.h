/* What the C files of webfw.sansio._native share. */

#ifndef WEBFW_NATIVE_H
#define WEBFW_NATIVE_H

#include <Python.h>

/* METH_FASTCALL has a type of its own, and the field of the table another: through void (*)(void) no compiler warns. */
#define FASTCALL(function) (PyCFunction)(void (*)(void))(function), METH_FASTCALL

/* What is shared is nobody's business outside: a name of ours must not meet that of another library. */
#ifdef __GNUC__
#pragma GCC visibility push(hidden)
#endif

/* _native_http1.c */
PyObject *plain_head(PyObject *module, PyObject *const *arguments, Py_ssize_t count);
PyObject *plain_message(PyObject *module, PyObject *const *arguments, Py_ssize_t count);
PyObject *plain_fields(PyObject *module, PyObject *const *arguments, Py_ssize_t count);
PyObject *raw_fields(PyObject *module, PyObject *const *arguments, Py_ssize_t count);
PyObject *plain_chunks(PyObject *module, PyObject *const *arguments, Py_ssize_t count);

/* The names of a RequestHead's attributes, and values it often has: made once for each interpreter. */
#define EVERY_WORD(WORD)                                                                                     \
    WORD(method, "method") WORD(target, "target") WORD(version, "version") WORD(minor, "minor")             \
    WORD(fields, "fields") WORD(host, "host") WORD(end, "end") WORD(keep_alive, "keep_alive")               \
    WORD(content_length, "content_length") WORD(chunked, "chunked") WORD(expect_continue, "expect_continue") \
    WORD(upgrade, "upgrade")                                                                                 \
    WORD(http_1_1, "HTTP/1.1") WORD(get, "GET") WORD(head, "HEAD") WORD(post, "POST")

typedef struct {
#define WORD(field, text) PyObject *field;
    EVERY_WORD(WORD)
#undef WORD
} Words;

int words_begin(Words *words);
void words_end(Words *words);

#ifdef __GNUC__
#pragma GCC visibility pop
#endif

#endif
