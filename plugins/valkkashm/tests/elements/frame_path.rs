//! The linker script `frame-path.ld` names functions. One that was renamed since would silently go back to where it was.

use std::{fs, path::PathBuf};

use object::{Object, ObjectSection, ObjectSymbol};

const SCRIPT: &str = include_str!("../../frame-path.ld");
const SECTION: &str = ".text.frame_path";

/// This build's plug-in, as cargo puts it beside this program.
fn plugin() -> PathBuf {
    let program = std::env::current_exe().expect("this program has a path");
    program.with_file_name("libgstvalkkashm.so")
}

/// The patterns of function names between the parentheses of `*(.text.A .text.B)`.
fn patterns() -> impl Iterator<Item = &'static str> {
    let lists = SCRIPT.lines().filter_map(|line| line.trim().strip_prefix("*(")?.strip_suffix(')'));
    lists.flat_map(str::split_whitespace).map(|section| section.strip_prefix(".text.").expect("a section of code"))
}

fn fits(pattern: &str, name: &str) -> bool {
    let (first, rest) = pattern.split_once('*').expect("names have a hash: no pattern is a whole name");
    let Some(name) = name.strip_prefix(first) else { return false };
    let (inner, last) = rest.rsplit_once('*').unwrap_or(("", rest));
    let left = inner.split('*').try_fold(name, |name, part| name.split_once(part).map(|(_, behind)| behind));
    left.is_some_and(|left| left.ends_with(last))
}

#[test]
fn each_function_that_the_linker_is_told_of_exists_and_is_where_it_should_be() {
    if option_env!("FRAME_PATH").is_none() {
        eprintln!("Not with this linker: see build.rs");
        return;
    }
    let bytes = fs::read(plugin()).expect("cargo builds the plug-in for this test");
    let library = object::File::parse(&*bytes).expect("the plug-in is an ELF file");
    let index = library.section_by_name(SECTION).expect("the linker knows the script").index();
    let names: Vec<&str> = library
        .symbols()
        .filter(|symbol| symbol.section_index() == Some(index))
        .filter_map(|symbol| symbol.name().ok())
        .collect();
    let stale: Vec<&str> = patterns().filter(|pattern| !names.iter().any(|name| fits(pattern, name))).collect();
    assert!(patterns().count() > 50, "{SCRIPT}");
    assert!(stale.is_empty(), "no function has such a name: {stale:#?}");
}
