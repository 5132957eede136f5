//! Memory, as the operating system counts it, each time in a process of its own.

use std::hint::black_box;
use std::process::Command;

use fastrand::Rng;
use sync_reconcile::Index;

use crate::sets;

pub(crate) fn report(count: usize) {
    let each = |kind: &str| -> f64 {
        let program = std::env::current_exe().unwrap();
        let arguments = ["--items", &count.to_string(), "--memory", kind];
        let output = Command::new(program).args(arguments).output().unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        text.trim().parse().unwrap()
    };
    println!(
        "bytes a key: {:.1} from sorted, {:.1} appended, {:.1} after random inserts (target: at most 64)",
        each("sorted"),
        each("appended"),
        each("random")
    );
}

/// Prints the bytes a key.
pub(crate) fn measure(kind: &str, count: usize) {
    let mut rng = Rng::with_seed(3);
    let before = resident();
    let index = match kind {
        "sorted" => Index::from_sorted(sets::sorted(&mut rng, count)).unwrap(),
        "appended" => inserted(sets::sorted(&mut rng, count)),
        "random" => inserted(sets::random(&mut rng, count)),
        other => panic!("unknown kind {other}"),
    };
    let bytes = resident() - before;
    println!("{}", bytes as f64 / black_box(&index).len() as f64);
}

fn inserted(keys: impl Iterator<Item = sync_core::TimeKey>) -> Index {
    let mut index = Index::new();
    for key in keys {
        index.insert(key);
    }
    index
}

fn resident() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))
        .unwrap();
    let kilobytes: usize = line.trim().trim_end_matches(" kB").parse().unwrap();
    kilobytes * 1_024
}
