//! The suite on a backend over the model, which keeps every promise.

mod toy;

sync_conformance::suite!(toy::ToyHarness);
