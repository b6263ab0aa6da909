/* The module itself, and the mask of WebSocket payloads (RFC 6455 section 5.3): the native twin of masking.py.
 *
 * The one C module of the house, and it stays small: no I/O, nothing that has no twin in Python with the same tests.  It
 * keeps to the stable ABI of Python 3.11, so that one build serves every later version; setup.py says how it is built,
 * and native.py when it is used.
 */

#include "_native.h"

#include <stdint.h>
#include <string.h>

/* Octet i of the result is octet i of the payload XOR octet (i mod 4) of the key.
 *
 * A word at a time, wherever the payload may lie: memcpy of a fixed size is one instruction, and compilers make vectors
 * of the loop.  The key is taken as it stands in memory, so the order of bytes in a word does not matter.
 */
static void
xor_key(unsigned char *result, const unsigned char *payload, size_t size, const unsigned char *key)
{
    uint32_t once;
    memcpy(&once, key, sizeof once);
    const uint64_t twice = (uint64_t)once << 32 | once;
    size_t at = 0;

    for (; size - at >= sizeof twice; at += sizeof twice) {
        uint64_t word;
        memcpy(&word, payload + at, sizeof word);
        word ^= twice;
        memcpy(result + at, &word, sizeof word);
    }
    for (; at < size; at++) {
        result[at] = payload[at] ^ key[at & 3];
    }
}

/* The GIL is kept: a megabyte takes less time than a switch between threads may, and nobody can change a bytearray
 * meanwhile.
 */
static PyObject *
apply_mask(PyObject *Py_UNUSED(module), PyObject *const *arguments, Py_ssize_t count)
{
    Py_buffer key, payload;
    PyObject *result = NULL;

    if (count != 2) {
        PyErr_Format(PyExc_TypeError, "apply_mask() takes a key and a payload, not %zd arguments", count);
        return NULL;
    }
    if (PyObject_GetBuffer(arguments[0], &key, PyBUF_SIMPLE) < 0) {
        return NULL;
    }
    if (PyObject_GetBuffer(arguments[1], &payload, PyBUF_SIMPLE) < 0) {
        PyBuffer_Release(&key);
        return NULL;
    }
    if (key.len != 4) {
        PyErr_Format(PyExc_ValueError, "a masking key has 4 bytes, not %zd", key.len);
    }
    else if ((result = PyBytes_FromStringAndSize(NULL, payload.len)) != NULL) {
        xor_key((unsigned char *)PyBytes_AsString(result), payload.buf, (size_t)payload.len, key.buf);
    }
    PyBuffer_Release(&payload);
    PyBuffer_Release(&key);
    return result;
}

static PyMethodDef methods[] = {
    {"apply_mask", FASTCALL(apply_mask),
     PyDoc_STR("apply_mask($module, key, payload, /)\n--\n\n"
               "Mask `payload` with the four bytes of `key`, or unmask it (RFC 6455 section 5.3).")},
    {"plain_head", FASTCALL(plain_head),
     PyDoc_STR("plain_head($module, kind, data, start, max_size, max_fields, max_target, hosts, /)\n--\n\n"
               "Parse a plain request head into a new `kind`; None where Python has to look.")},
    {"plain_message", FASTCALL(plain_message),
     PyDoc_STR("plain_message($module, first_line, fields, body, /)\n--\n\n"
               "Encode a message whose head is plain ASCII; None where Python has to look.")},
    {"plain_fields", FASTCALL(plain_fields),
     PyDoc_STR("plain_fields($module, block, names, /)\n--\n\n"
               "A dict of a field block whose names are in `names` and come once; None where Python has to look.")},
    {"raw_fields", FASTCALL(raw_fields),
     PyDoc_STR("raw_fields($module, block, /)\n--\n\n"
               "Pairs of bytes, the names in lower case, of a field block; None where Python has to look.")},
    {"plain_chunks", FASTCALL(plain_chunks),
     PyDoc_STR("plain_chunks($module, data, start, room, /)\n--\n\n"
               "The payload of the chunks that begin at `start`, are there whole and have no extension, at most `room`\n"
               "bytes of it; and the offset behind them.")},
    {NULL, NULL, 0, NULL},
};

static int
begin(PyObject *module)
{
    /* native.py wants the same number: to be raised with every change of what a function takes or gives. */
    if (PyModule_AddIntConstant(module, "REVISION", 2) < 0) {
        return -1;
    }
    return words_begin(PyModule_GetState(module));
}

static void
free_state(void *module)
{
    words_end(PyModule_GetState(module));
}

/* All state is words that never change, so any number of interpreters may have it, and threads without the GIL.  Builds
 * for the stable ABI of 3.11 know neither of the last two slots: an interpreter with a GIL of its own refuses those, and
 * has the twins in Python.
 */
static PyModuleDef_Slot slots[] = {
    {Py_mod_exec, begin},
#ifdef Py_mod_multiple_interpreters
    {Py_mod_multiple_interpreters, Py_MOD_PER_INTERPRETER_GIL_SUPPORTED},
#endif
#ifdef Py_mod_gil
    {Py_mod_gil, Py_MOD_GIL_NOT_USED},
#endif
    {0, NULL},
};

/* Strings are no part of a cycle, so the garbage collector need not see them; and as it cannot clear them, they are there
 * for as long as any of the functions.
 */
static PyModuleDef definition = {
    PyModuleDef_HEAD_INIT,
    .m_name = "webfw.sansio._native",
    .m_doc = PyDoc_STR("What webfw.sansio has in C; never imported but by native.py."),
    .m_size = sizeof(Words),
    .m_methods = methods,
    .m_slots = slots,
    .m_free = free_state,
};

PyMODINIT_FUNC
PyInit__native(void)
{
    return PyModuleDef_Init(&definition);
}
