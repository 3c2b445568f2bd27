//! What other people's lists call the address of a BMC; makers have their own words for it.

/// Columns of a sheet.
pub const COLUMNS: &[&str] =
    &["bmc", "bmc_address", "bmc_ip", "bmc_url", "redfish", "redfish_url", "idrac", "ilo", "oob_ip", "oob", "out_of_band_ip", "management_ip"];
/// Variables of an Ansible inventory.
pub const VARIABLES: &[&str] =
    &["bmc_address", "bmc_url", "redfish_url", "redfish_host", "bmc", "bmc_host", "bmc_ip", "idrac_ip", "idrac", "ilo_ip", "oob_ip", "baseuri"];
