//! Starts a server, loads it as scenario files say, and sets what came out against what must be reached.
//!
//! Think of it as a person with a shell and a stopwatch: it runs the same `whip`, `whep` and `hostile` commands that
//! anybody can, as child processes, reads their `--json` reports, and shares no code with what it measures.
//! Start reading at `scenario`.

pub mod affinity;
pub mod child;
pub mod command;
pub mod conditions;
pub mod figures;
pub mod http;
pub mod limit;
pub mod run;
pub mod scenario;
pub mod server;
pub mod table;
