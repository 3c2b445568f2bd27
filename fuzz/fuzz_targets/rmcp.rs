//! Every parser of datagrams and of IPMI answers. Start it from the kept corpus: `cargo +nightly fuzz run rmcp`, seeds by `fuzz/seeds`.
#![no_main]
use libfuzzer_sys::fuzz_target;
use pitstop::wire::{
    boot_flags::BootFlags,
    ipmi, lan,
    rakp::{OpenAnswer, OpenRequest, Rakp1, Rakp2, Rakp3, Rakp4},
    rmcp::{self, Packet},
    sel,
    suite::{Keys, Suite},
};

fuzz_target!(|bytes: &[u8]| {
    if let Ok(Packet::Plus(plus)) = rmcp::parse(bytes) {
        for payload in [plus.payload, bytes] {
            let _ = OpenRequest::parse(payload);
            let _ = OpenAnswer::parse(payload);
            let _ = Rakp1::parse(payload);
            let _ = Rakp2::parse(payload);
            let _ = Rakp3::parse(payload);
            let _ = Rakp4::parse(payload);
        }
        for suite in Suite::ALL {
            let keys = Keys::derive(suite, b"fuzz");
            assert!(plus.open(&keys).is_err(), "forged without the key");
        }
    }
    // What comes from a BMC that has the keys.
    let keys = Keys::derive(Suite::ALL[0], b"fuzz");
    let sealed = rmcp::seal(&keys, 1, 1, bytes, [7; 16]);
    if let Ok(Packet::Plus(plus)) = rmcp::parse(&sealed) {
        assert_eq!(plus.open(&keys).as_deref(), Ok(bytes));
    }
    let _ = keys.decrypt(bytes);
    let _ = lan::Request::parse(bytes);
    let _ = lan::Response::parse(bytes);
    let _ = ipmi::power_is_on(bytes);
    let _ = ipmi::capabilities(bytes);
    let _ = ipmi::device(bytes);
    let _ = ipmi::cipher_suites(bytes);
    let _ = ipmi::fru_product_at(bytes);
    let _ = ipmi::fru_product_serial(bytes);
    let _ = sel::answer(bytes);
    if let Ok(flags) = BootFlags::parse(bytes) {
        let _ = flags.target();
    }
    if let Some(guid) = bytes.first_chunk::<16>() {
        let _ = ipmi::guid_text(*guid, ipmi::guid_order(*guid));
    }
});
