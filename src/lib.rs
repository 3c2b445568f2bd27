//! pitstop takes bare-metal servers out of service, through firmware, patches and reboots, and back, safely, out of band.
//!
//! Data flows one way: `inventory` + `playbook` + `survey` → `plan` (frozen) → `engine` (journal) → `steps` → `guards` → `drivers` → events → `report`.
//!
//! # The map
//!
//! | room | holds | may name | does I/O |
//! |---|---|---|---|
//! | `main` | parse, run, exit code | cli | |
//! | `cli` | one file per command; wires all the others together, makes the system clock | everything | yes |
//! | `model` | a noun per file, entered when two rooms name it: names, time and Clock, Secret, Fault, Act, Loan, Identity, Survey | nothing | none, no async |
//! | `event` | every fact of a run: the language of journal, progress, report and JSON output | model | none |
//! | `kinds` | the registry: TOML table ⇄ checked Setting ⇄ the thing made from it; problems with file, line and column | model | none |
//! | `wire` | codecs and trust that a driver and the lab, or two drivers, need: RMCP+, IPMI, certificate pins, a question to a name server | model | none |
//! | `inventory` | TOML → checked Inventory; selectors; `trust.toml` | kinds, model; of drivers and checks only `KINDS` | reads files |
//! | `playbook` | TOML → checked Playbook; windows | kinds, model; of steps and due only `KINDS` | reads files |
//! | `survey` | drivers → `model::Survey`, for check and plan | checks, due, guards, model, driver traits | reads |
//! | `plan` | Inventory + Playbook + Survey → immutable Plan with every choice made | inventory, playbook, model | none |
//! | `engine::node`, `engine::fleet` | one node's machine and the fleet's: `check`, `apply`, `decide` | event, model, plan | none, no clock: `now` is an argument |
//! | `engine` | the dispatcher, the one task loop that runs every step, the store | event, kinds, model, plan, steps, survey, driver traits | yes |
//! | `steps` | one file per step: preflight, baseline, evacuate, firmware, exec, pause, bmc-reset, reset, fence, verify, enable, settle | checks, due, guards, kinds, model, driver traits | through drivers |
//! | `guards` | one file per interlock; only here a `Permit` is made | model, driver traits | reads |
//! | `checks`, `due` | one file per health check, and per reason that makes a node due | kinds, model, driver traits | through drivers |
//! | `drivers` | families `cluster`, `bmc`, `host`, `net` that never import each other; in a family one file or folder per real-world system, which never imports a sibling | kinds, model, wire, their family; bmc also `guards::Permit` | yes |
//! | `report` | turns events into screens, JSON and exit codes; cannot influence a run | event, model, plan, `engine::fleet` | writes |
//! | `lab` | a simulated rack on real wire protocols; knows nothing of drivers and engine, and so can judge them | model, wire | servers on loopback |
//!
//! *Driver traits* are what a family's `mod.rs` declares itself. `tests/house.rs` holds this table. One row is wider than it looks necessary: `survey` names `guards`,
//! because `check` and `plan` judge who a node is by the very function that the `Permit` asks later, and not by a second one that could come to differ.
//!
//! A new cluster system, BMC protocol, step, check or due reason is one new file and two lines of its folder's `mod.rs`: `pub mod x;` and a row of `KINDS`.
//!
//! # What always holds
//!
//! `docs/safety.md` says for each how far this release goes, and which test shows it.
//!
//! 1. Right machine: the node that was emptied, the host that answers and the system behind the BMC are one.
//! 2. Empty machine: proven by looking at what runs there, twice.
//! 3. Really rebooted: another boot id, not an accepted request.
//! 4. Really healthy: before it is enabled, and for a while.
//! 5. Never too many out: every node of the cluster counts, whoever took it out.
//! 6. Intent on disk before effect: a crash anywhere, then `resume`, ends the same.
//! 7. Give back what was borrowed, as it was.
//! 8. A timeout is never a success, and every wait names what it waits for.
//! 9. One run per cluster.
//! 10. A plan writes nothing.
//! 11. Secrets have no form that shows them.
//! 12. A second way in is used for power only where the first proves that nothing happened.
//! 13. Never into a flash.
//! 14. Storage bears it.
//! 15. Not the branch we sit on.
//! 16. It boots what it booted.
//! 17. A run clears its own reason.
//!
//! # Deliberately absent
//!
//! - No retry in a driver: it looks, or does one exchange. Whether an act may be repeated is said by the act and enforced by the engine.
//! - No step, driver or verb name in the engine: it knows acts, loans, repeats and times.
//! - No clock outside `cli` but the one that is handed over: the simulation runs on a paused one.
//! - No act raced against a deadline: a blocking call that timed out still acts afterwards. The driver's own limits end it.
//! - No second format for JSON output: it is the event stream and the folded report.
//! - No global error type, no `util`, no macros of our own, no cargo features beyond the choice of one crypto provider.
pub mod checks;
pub mod cli;
pub mod drivers;
pub mod due;
pub mod engine;
pub mod event;
pub mod guards;
pub mod inventory;
pub mod kinds;
pub mod lab;
pub mod model;
pub mod plan;
pub mod playbook;
pub mod report;
pub mod steps;
pub mod survey;
pub mod wire;
