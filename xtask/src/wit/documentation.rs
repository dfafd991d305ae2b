//! Finds items of a contract that lack a doc comment or `@since`.

use wit_parser::{
    Docs, Function, InterfaceId, PackageId, Resolve, Stability, Type, TypeDefKind, TypeId,
    WorldItem, WorldKey,
};

/// The items of a package that lack a doc comment or `@since`, with one sentence for each
/// problem.
pub fn find_undocumented_items(resolve: &Resolve, package: PackageId) -> Vec<String> {
    let mut visitor = Visitor {
        resolve,
        problems: Vec::new(),
    };
    let package = &resolve.packages[package];
    visitor.check_docs("package", &package.docs);
    for (name, &id) in &package.interfaces {
        visitor.interface(name, id);
    }
    for (name, &id) in &package.worlds {
        let world = &resolve.worlds[id];
        visitor.check_item(name, &world.docs, &world.stability);
        for (key, item) in world.imports.iter().chain(&world.exports) {
            visitor.world_item(name, key, item);
        }
    }
    visitor.problems
}

struct Visitor<'a> {
    resolve: &'a Resolve,
    problems: Vec<String>,
}

impl Visitor<'_> {
    fn interface(&mut self, path: &str, id: InterfaceId) {
        let interface = &self.resolve.interfaces[id];
        self.check_item(path, &interface.docs, &interface.stability);
        for (name, &id) in &interface.types {
            self.type_definition(&format!("{path}/{name}"), id);
        }
        for (name, function) in &interface.functions {
            self.function(&format!("{path}/{name}"), function);
        }
    }

    /// Skips interfaces that a world only refers to: they are checked where they are defined.
    fn world_item(&mut self, world: &str, key: &WorldKey, item: &WorldItem) {
        let path = format!("{world}/{}", self.resolve.name_world_key(key));
        match (key, item) {
            (WorldKey::Interface(_), WorldItem::Interface { .. }) => {}
            (WorldKey::Name(_), WorldItem::Interface { id, .. }) => self.interface(&path, *id),
            (_, WorldItem::Function(function)) => self.function(&path, function),
            (_, WorldItem::Type { id, .. }) => self.type_definition(&path, *id),
        }
    }

    fn function(&mut self, path: &str, function: &Function) {
        self.check_item(path, &function.docs, &function.stability);
    }

    fn type_definition(&mut self, path: &str, id: TypeId) {
        let definition = &self.resolve.types[id];
        if let TypeDefKind::Type(Type::Id(other)) = definition.kind
            && self.resolve.types[other].owner != definition.owner
        {
            // A `use`. The type is checked where it is defined.
            return;
        }
        self.check_item(path, &definition.docs, &definition.stability);
        let members: Vec<(&str, &Docs)> = match &definition.kind {
            TypeDefKind::Record(record) => record
                .fields
                .iter()
                .map(|field| (&*field.name, &field.docs))
                .collect(),
            TypeDefKind::Variant(variant) => variant
                .cases
                .iter()
                .map(|case| (&*case.name, &case.docs))
                .collect(),
            TypeDefKind::Enum(names) => names
                .cases
                .iter()
                .map(|case| (&*case.name, &case.docs))
                .collect(),
            TypeDefKind::Flags(flags) => flags
                .flags
                .iter()
                .map(|flag| (&*flag.name, &flag.docs))
                .collect(),
            _ => Vec::new(),
        };
        for (name, docs) in members {
            self.check_docs(&format!("{path}/{name}"), docs);
        }
    }

    fn check_item(&mut self, path: &str, docs: &Docs, stability: &Stability) {
        self.check_docs(path, docs);
        // The parser rejects a version later than that of the package.
        if !matches!(stability, Stability::Stable { .. }) {
            self.problems.push(format!("`{path}` lacks @since"));
        }
    }

    fn check_docs(&mut self, path: &str, docs: &Docs) {
        if docs.contents.as_deref().unwrap_or("").trim().is_empty() {
            self.problems.push(format!("`{path}` lacks a doc comment"));
        }
    }
}
