//! The C symbols by which driver managers find the driver: `AdbcMerganserInit`, and `AdbcDriverInit`
//! for those who do not know its name.

#![allow(
    missing_docs,
    unsafe_code,
    unreachable_pub,
    clippy::missing_safety_doc,
    clippy::undocumented_unsafe_blocks,
    reason = "all of it is the macro's: C symbols that write where the driver manager says"
)]

use crate::Driver;

adbc_ffi::export_driver!(AdbcMerganserInit, Driver);
