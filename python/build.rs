//! What a library that Python loads needs of the linker: on macOS, that its symbols may be missing.

fn main() {
    pyo3_build_config::add_extension_module_link_args();
}
