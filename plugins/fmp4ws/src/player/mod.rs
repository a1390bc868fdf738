//! The player and its page, as they are served. The orchestrator takes this file in as well (by `#[path]`).
//!
//! The player is written as one ES module for each thing that it knows, and delivered as one module that can be copied
//! anywhere. `bundle()` is all that lies between: each part becomes a function that is called once and gives what the part
//! exports, so that names which it keeps to itself stay there. Nothing is minified; browsers' tools show what is here.

use std::sync::LazyLock;

/// The custom element `<valkka-video>`, a JavaScript module.
pub static PLAYER: LazyLock<String> = LazyLock::new(|| bundle(&PARTS, include_str!("valkka-video.js")));

/// In such an order that each needs only those before it.
const PARTS: [&str; 7] = [
    include_str!("boxes.js"),
    include_str!("clock.js"),
    include_str!("pace.js"),
    include_str!("connection.js"),
    include_str!("controls.js"),
    include_str!("mse.js"),
    include_str!("webcodecs.js"),
];

/// One module out of several, of which the last keeps its exports. An import is one line, and so is an export's name.
fn bundle(parts: &[&str], last: &str) -> String {
    let mut module: String = parts.iter().map(|part| function(part)).collect();
    module.extend(without_imports(last).map(|line| format!("{line}\n")));
    module
}

fn function(part: &str) -> String {
    let exported = |line: &str| {
        let mut words = line.strip_prefix("export ")?.split(|c: char| !c.is_alphanumeric() && c != '_');
        words.find(|word| !matches!(*word, "class" | "const" | "function")).map(str::to_owned)
    };
    let names = part.lines().filter_map(exported).collect::<Vec<_>>().join(", ");
    let body: String =
        without_imports(part).map(|line| format!("{}\n", line.strip_prefix("export ").unwrap_or(line))).collect();
    format!("const {{ {names} }} = (() => {{\n{body}return {{ {names} }};\n}})();\n\n")
}

fn without_imports(part: &str) -> impl Iterator<Item = &str> {
    part.lines().filter(|line| !line.starts_with("import "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_become_one_module_with_the_last_ones_exports() {
        let part = "const MOST = 1;\nexport class Pace {\n}\nexport const FAR = MOST;\n";
        let last = "import { Pace } from \"./pace.js\";\nconst MOST = 2;\nexport class Player extends Pace {}\n";
        let expected = "const { Pace, FAR } = (() => {\nconst MOST = 1;\nclass Pace {\n}\nconst FAR = MOST;\nreturn { Pace, FAR };\n})();\n\n\
            const MOST = 2;\nexport class Player extends Pace {}\n";
        assert_eq!(bundle(&[part], last), expected);
    }

    #[test]
    fn a_part_needs_only_those_before_it_and_is_there() {
        let names = ["boxes", "clock", "pace", "connection", "controls", "mse", "webcodecs"];
        for (index, part) in PARTS.iter().chain([&include_str!("valkka-video.js")]).enumerate() {
            for import in part.lines().filter(|line| line.starts_with("import ")) {
                let known = names[..index].iter().any(|name| import.ends_with(&format!(" from \"./{name}.js\";")));
                assert!(known, "{import}");
            }
        }
        assert!(!PLAYER.lines().any(|line| line.starts_with("import ")));
    }
}
