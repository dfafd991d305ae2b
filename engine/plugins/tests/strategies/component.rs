//! Hand-made components, for what the SDK does not let an author do.

use wit_component::{ComponentEncoder, StringEncoding, embed_component_metadata};
use wit_parser::Resolve;

const WIT: &str = include_str!("../../../../wit/strategy/0.1.0/strategy.wit");

/// A strategy component with these functions.
pub struct HandmadeStrategy<'a> {
    /// What `describe` returns: name, version, summary, schema.
    pub descriptor: [&'a str; 4],
    /// Imports of the core module.
    pub imports: &'a str,
    /// Instructions of `describe`, before it returns.
    pub describe: &'a str,
    /// Instructions of `run`, before it returns `ok`.
    pub run: &'a str,
    /// Initial pages of memory.
    pub pages: u32,
    /// The version of the contract.
    pub wit_version: &'a str,
}

impl Default for HandmadeStrategy<'_> {
    fn default() -> Self {
        Self {
            descriptor: ["handmade", "1.2.3", "Does nothing.", r#"{"type":"object"}"#],
            imports: "",
            describe: "",
            run: "",
            pages: 1,
            wit_version: "0.1.0",
        }
    }
}

impl HandmadeStrategy<'_> {
    pub fn component(&self) -> Vec<u8> {
        let contract = WIT.replace("0.1.0", self.wit_version);
        let mut resolve = Resolve::default();
        let package = resolve.push_str("strategy.wit", &contract).unwrap();
        let world = resolve.select_world(&[package], Some("strategy")).unwrap();
        let mut core = wat::parse_str(self.core_module()).unwrap();
        embed_component_metadata(&mut core, &resolve, world, StringEncoding::UTF8).unwrap();
        ComponentEncoder::default()
            .validate(true)
            .module(&core)
            .unwrap()
            .encode()
            .unwrap()
    }

    fn core_module(&self) -> String {
        // The descriptor is four pairs of address and length, followed by the texts.
        let mut address = 1024 + 32;
        let mut pairs = String::new();
        let mut texts = String::new();
        for text in self.descriptor {
            for number in [address, text.len()] {
                let bytes = u32::try_from(number).unwrap().to_le_bytes();
                pairs.extend(bytes.iter().map(|byte| format!("\\{byte:02x}")));
            }
            texts.extend(text.bytes().map(|byte| format!("\\{byte:02x}")));
            address += text.len();
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
            wit = self.wit_version,
            describe = self.describe,
            run = self.run,
        )
    }
}

/// A component with these imports, and one exported interface with these functions. The
/// functions have no parameters and do nothing.
pub fn stub(imports: &str, export: &str, functions: &[&str]) -> Vec<u8> {
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
            (export "{export}" (instance $guest)))"#
    ))
    .unwrap()
}
