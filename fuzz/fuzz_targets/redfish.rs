//! Everything that is read from a Redfish body. Seeds: `cargo +nightly fuzz run redfish tests/corpus/redfish`.
#![no_main]
use libfuzzer_sys::fuzz_target;

fuzz_target!(|body: &[u8]| pitstop::drivers::bmc::redfish::read_anything(body));
