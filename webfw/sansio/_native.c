/* The mask of WebSocket payloads (RFC 6455 section 5.3), as fast as memory: the native twin of masking.py.
 *
 * The one C module of the house, and it stays small: no state, no I/O, nothing that has no twin in Python with the same
 * tests.  It keeps to the stable ABI of Python 3.11, so that one build serves every later version; setup.py says how it
 * is built, and masking.py when it is used.
 */

#include <Python.h>
#include <stdint.h>
#include <string.h>

/* Octet i of the result is octet i of the payload XOR octet (i mod 4) of the key.
 *
 * A word at a time, wherever the payload may lie: memcpy of a fixed size is one instruction, and compilers make vectors
 * of the loop.  The key is taken as it stands in memory, so the order of bytes in a word does not matter.
 */
static void
xor_key(unsigned char *result, const unsigned char *payload, Py_ssize_t size, const unsigned char *key)
{
    uint32_t once;
    memcpy(&once, key, sizeof once);
    const uint64_t twice = (uint64_t)once << 32 | once;
    Py_ssize_t at = 0;

    for (; size - at >= (Py_ssize_t)sizeof twice; at += sizeof twice) {
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
        xor_key((unsigned char *)PyBytes_AsString(result), payload.buf, payload.len, key.buf);
    }
    PyBuffer_Release(&payload);
    PyBuffer_Release(&key);
    return result;
}

/* METH_FASTCALL has a type of its own, and the field of the table another: through void (*)(void) no compiler warns. */
static PyMethodDef methods[] = {
    {"apply_mask", (PyCFunction)(void (*)(void))apply_mask, METH_FASTCALL,
     PyDoc_STR("apply_mask($module, key, payload, /)\n--\n\n"
               "Mask `payload` with the four bytes of `key`, or unmask it (RFC 6455 section 5.3).")},
    {NULL, NULL, 0, NULL},
};

/* No state, so any number of interpreters may have it, and threads without the GIL.  Builds for the stable ABI of 3.11
 * know neither slot.
 */
static PyModuleDef_Slot slots[] = {
#ifdef Py_mod_multiple_interpreters
    {Py_mod_multiple_interpreters, Py_MOD_PER_INTERPRETER_GIL_SUPPORTED},
#endif
#ifdef Py_mod_gil
    {Py_mod_gil, Py_MOD_GIL_NOT_USED},
#endif
    {0, NULL},
};

static PyModuleDef definition = {
    PyModuleDef_HEAD_INIT,
    .m_name = "webfw.sansio._native",
    .m_doc = PyDoc_STR("What webfw.sansio has in C; never imported but by the pure twin of each function."),
    .m_methods = methods,
    .m_slots = slots,
};

PyMODINIT_FUNC
PyInit__native(void)
{
    return PyModuleDef_Init(&definition);
}
