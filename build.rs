//! The linker must not drop the sections that the extension's SQL is generated from. Only the shared
//! library gets the flag: a test program with it would need every symbol of the server.

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    if std::env::var("CARGO_CFG_TARGET_OS").is_ok_and(|os| os == "linux") {
        println!("cargo:rustc-cdylib-link-arg=-Wl,--no-gc-sections");
    }
}
