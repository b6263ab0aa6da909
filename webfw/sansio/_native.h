/* What the C files of webfw.sansio._native share. */

#ifndef WEBFW_NATIVE_H
#define WEBFW_NATIVE_H

#include <Python.h>

/* METH_FASTCALL has a type of its own, and the field of the table another: through void (*)(void) no compiler warns. */
#define FASTCALL(function) (PyCFunction)(void (*)(void))(function), METH_FASTCALL

/* _native_http1.c */
PyObject *plain_head(PyObject *module, PyObject *const *arguments, Py_ssize_t count);
PyObject *plain_message(PyObject *module, PyObject *const *arguments, Py_ssize_t count);
PyObject *plain_fields(PyObject *module, PyObject *const *arguments, Py_ssize_t count);
PyObject *raw_fields(PyObject *module, PyObject *const *arguments, Py_ssize_t count);

/* The names of a RequestHead's attributes, and values it often has: made once for each interpreter. */
typedef struct {
    PyObject *method, *target, *version, *minor, *fields, *host, *end, *keep_alive, *content_length, *chunked;
    PyObject *expect_continue, *upgrade;
    PyObject *http_1_1, *one, *get, *head, *post;
} Words;

int words_begin(Words *words);
int words_visit(Words *words, visitproc visit, void *arg);
void words_end(Words *words);

#endif
