//! The driver's functions that are used, all found before the first of them is called.
//!
//! cudarc's own look a symbol up when it is first called, and panic if a driver lacks it; and their results are an `enum`,
//! which a newer driver may have more of. Its types are used as they are.

#![allow(unsafe_code, reason = "symbols of a C library have the type that its documentation says")]

use std::ffi::{c_char, c_int, c_uchar, c_uint, c_ulonglong, c_void};

use cudarc::driver::sys::{
    CUcontext, CUdevice, CUdeviceptr, CUevent, CUgraph, CUgraphExec, CUipcMemHandle, CUstream, CUuuid,
};
use libloading::Library;

/// A result of the driver (`CUresult`); 0 is success.
pub(super) type Code = u32;

macro_rules! symbols {
    ($($name:ident($($argument:ty),*);)*) => {
        #[derive(Debug)]
        #[expect(non_snake_case, reason = "the names are CUDA's")]
        pub(super) struct Symbols {
            $(pub(super) $name: unsafe extern "C" fn($($argument),*) -> Code,)*
            /// Of a part of a GPU where `cuDeviceGetUuid` gives the whole; not in drivers before 11.4.
            pub(super) cuDeviceGetUuid_v2: Option<unsafe extern "C" fn(*mut CUuuid, CUdevice) -> Code>,
        }

        impl Symbols {
            /// # Errors
            /// The name of a function that `library` lacks.
            pub(super) fn find(library: &Library) -> Result<Self, &'static str> {
                Ok(Self {
                    $($name: {
                        type Function = unsafe extern "C" fn($($argument),*) -> Code;
                        // SAFETY: the driver's function of this name has this type.
                        let found = unsafe { library.get::<Function>(stringify!($name)) };
                        *found.map_err(|_| stringify!($name))?
                    },)*
                    cuDeviceGetUuid_v2: {
                        type Function = unsafe extern "C" fn(*mut CUuuid, CUdevice) -> Code;
                        // SAFETY: as above.
                        let found = unsafe { library.get::<Function>("cuDeviceGetUuid_v2") };
                        found.ok().map(|found| *found)
                    },
                })
            }
        }
    };
}

symbols! {
    cuInit(c_uint);
    cuGetErrorName(Code, *mut *const c_char);
    cuGetErrorString(Code, *mut *const c_char);
    cuDeviceGetCount(*mut c_int);
    cuDeviceGet(*mut CUdevice, c_int);
    cuDeviceGetName(*mut c_char, c_int, CUdevice);
    cuDeviceGetUuid(*mut CUuuid, CUdevice);
    cuDeviceGetAttribute(*mut c_int, c_uint, CUdevice);
    cuDeviceTotalMem_v2(*mut usize, CUdevice);
    cuDeviceGetPCIBusId(*mut c_char, c_int, CUdevice);
    cuDevicePrimaryCtxRetain(*mut CUcontext, CUdevice);
    cuCtxGetCurrent(*mut CUcontext);
    cuCtxSetCurrent(CUcontext);
    cuCtxGetStreamPriorityRange(*mut c_int, *mut c_int);
    cuMemGetInfo_v2(*mut usize, *mut usize);
    cuMemAlloc_v2(*mut CUdeviceptr, usize);
    cuMemFree_v2(CUdeviceptr);
    cuMemHostAlloc(*mut *mut c_void, usize, c_uint);
    cuMemFreeHost(*mut c_void);
    cuMemGetAddressRange_v2(*mut CUdeviceptr, *mut usize, CUdeviceptr);
    cuMemcpyHtoD_v2(CUdeviceptr, *const c_void, usize);
    cuMemcpyDtoH_v2(*mut c_void, CUdeviceptr, usize);
    cuMemcpyHtoDAsync_v2(CUdeviceptr, *const c_void, usize, CUstream);
    cuMemcpyDtoHAsync_v2(*mut c_void, CUdeviceptr, usize, CUstream);
    cuMemcpyDtoDAsync_v2(CUdeviceptr, CUdeviceptr, usize, CUstream);
    cuMemsetD8Async(CUdeviceptr, c_uchar, usize, CUstream);
    cuStreamCreateWithPriority(*mut CUstream, c_uint, c_int);
    cuStreamDestroy_v2(CUstream);
    cuStreamSynchronize(CUstream);
    cuStreamWaitEvent(CUstream, CUevent, c_uint);
    cuStreamBeginCapture_v2(CUstream, c_uint);
    cuStreamEndCapture(CUstream, *mut CUgraph);
    cuEventCreate(*mut CUevent, c_uint);
    cuEventDestroy_v2(CUevent);
    cuEventRecord(CUevent, CUstream);
    cuEventSynchronize(CUevent);
    cuGraphInstantiateWithFlags(*mut CUgraphExec, CUgraph, c_ulonglong);
    cuGraphLaunch(CUgraphExec, CUstream);
    cuGraphExecDestroy(CUgraphExec);
    cuGraphDestroy(CUgraph);
    cuIpcOpenMemHandle_v2(*mut CUdeviceptr, CUipcMemHandle, c_uint);
    cuIpcCloseMemHandle(CUdeviceptr);
}
