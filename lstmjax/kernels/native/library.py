"""temporary"""
import ctypes, functools, jax, numpy as np, os
@functools.cache
def load():
    L=ctypes.CDLL(os.environ.get("LSTMJAX_NATIVE","/tmp/nat/liblstmjax_native.so"))
    L.lstmjax_native_isa.restype=ctypes.c_char_p
    for n,h in {"lstmjax_pack": "LstmjaxPack", "lstmjax_forward": "LstmjaxForward", "lstmjax_backward": "LstmjaxBackward"}.items():
        jax.ffi.register_ffi_target(n, jax.ffi.pycapsule(getattr(L,h)), platform="cpu")
    return L
def why_not():
    if os.environ.get("LSTMJAX_NATIVE")=="off": return "off"
    load(); return None
def lanes(dtype): return int(load().lstmjax_native_lanes(np.dtype(dtype).itemsize))
def isa(): return load().lstmjax_native_isa().decode()
