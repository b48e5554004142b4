//! Tests of the viewer through its public API, against real rings and real bytes.

mod audio;
mod feedback;
mod harness;
mod hostile;
mod joining;
mod model;
mod path;
mod publisher;
mod regulation;
mod reporting;
mod switching;
mod writing;
