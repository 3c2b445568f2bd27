//! 1, right machine: the node that was emptied = the host that answers = the system behind the BMC.
use super::Readings;
use crate::model::{Fault, NodeName};
pub fn judge(_node: &NodeName, _readings: &Readings) -> Result<(), Fault> {
    todo!()
}
