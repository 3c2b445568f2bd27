//! The certificate that a stranger shows.
#![no_main]
use libfuzzer_sys::fuzz_target;

fuzz_target!(|der: &[u8]| {
    if let Ok(names) = pitstop::wire::x509::names(der) {
        assert!(!(names.subject + &names.issuer).chars().any(char::is_control), "a terminal would obey it");
    }
});
