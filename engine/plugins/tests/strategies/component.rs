//! Components made by hand, for what no SDK lets an author do.

use wit_component::{ComponentEncoder, StringEncoding, embed_component_metadata};
use wit_parser::Resolve;

const WIT: &str = include_str!("../../../../wit/strategy/0.1.0/strategy.wit");

/// A strategy whose functions are these.
pub struct Handmade<'a> {
    /// What `describe` returns: name, version, summary, schema.
    pub says: [&'a str; 4],
    /// Imports of the core module.
    pub imports: &'a str,
    /// What `describe` does first.
    pub describe: &'a str,
    /// What `run` does before it returns ok.
    pub run: &'a str,
    /// Pages of memory at the start.
    pub pages: u32,
    /// The version of the contract.
    pub wit: &'a str,
}

impl Default for Handmade<'_> {
    fn default() -> Self {
        Self {
            says: ["handmade", "1.2.3", "Does nothing.", r#"{"type":"object"}"#],
            imports: "",
            describe: "",
            run: "",
            pages: 1,
            wit: "0.1.0",
        }
    }
}

impl Handmade<'_> {
    pub fn component(&self) -> Vec<u8> {
        let contract = WIT.replace("0.1.0", self.wit);
        let mut resolve = Resolve::default();
        let package = resolve.push_str("strategy.wit", &contract).unwrap();
        let world = resolve.select_world(&[package], Some("strategy")).unwrap();
        let mut core = wat::parse_str(self.core()).unwrap();
        embed_component_metadata(&mut core, &resolve, world, StringEncoding::UTF8).unwrap();
        ComponentEncoder::default()
            .validate(true)
            .module(&core)
            .unwrap()
            .encode()
            .unwrap()
    }

    fn core(&self) -> String {
        // The descriptor is four pairs of address and length, and then the texts.
        let mut at = 1024 + 32;
        let mut pairs = String::new();
        let mut texts = String::new();
        for text in self.says {
            for number in [at, text.len()] {
                let bytes = u32::try_from(number).unwrap().to_le_bytes();
                pairs.extend(bytes.iter().map(|byte| format!("\\{byte:02x}")));
            }
            texts.extend(text.bytes().map(|byte| format!("\\{byte:02x}")));
            at += text.len();
        }
        let parameters = "i32 ".repeat(14);
        format!(
            r#"(module
                {imports}
                (memory (export "memory") {pages})
                (global $free (mut i32) (i32.const 32768))
                (data (i32.const 1024) "{pairs}{texts}")
                (func (export "cabi_realloc") (param i32 i32 i32 i32) (result i32)
                    (global.set $free (i32.add (global.get $free)
                        (i32.and (i32.add (local.get 3) (i32.const 15)) (i32.const -16))))
                    (i32.sub (global.get $free)
                        (i32.and (i32.add (local.get 3) (i32.const 15)) (i32.const -16))))
                (func (export "hotswap:strategy/guest@{wit}#describe") (result i32)
                    {describe} (i32.const 1024))
                (func (export "hotswap:strategy/guest@{wit}#run") (param {parameters})
                    (result i32) {run} (i32.const 512)))"#,
            imports = self.imports,
            pages = self.pages,
            wit = self.wit,
            describe = self.describe,
            run = self.run,
        )
    }
}

/// A component with these imports and these functions under this export, of which it is
/// never asked to do anything.
pub fn shell(imports: &str, guest: &str, functions: &[&str]) -> Vec<u8> {
    let functions: String = functions
        .iter()
        .map(|name| format!("(export \"{name}\" (func $f))"))
        .collect();
    wat::parse_str(format!(
        r#"(component
            {imports}
            (core module $m (func (export "f")))
            (core instance $i (instantiate $m))
            (func $f (canon lift (core func $i "f")))
            (instance $guest {functions})
            (export "{guest}" (instance $guest)))"#
    ))
    .unwrap()
}
