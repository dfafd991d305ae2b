//! Items without documentation, or without a word on since when they exist.

use wit_parser::{
    Docs, Function, InterfaceId, PackageId, Resolve, Stability, Type, TypeDefKind, TypeId,
    WorldItem, WorldKey,
};

/// Everything in a package that lacks a doc comment or `@since`. One sentence
/// each.
pub fn undocumented(resolve: &Resolve, package: PackageId) -> Vec<String> {
    let mut visit = Visit {
        resolve,
        complaints: Vec::new(),
    };
    let package = &resolve.packages[package];
    visit.docs("package", &package.docs);
    for (name, &id) in &package.interfaces {
        visit.interface(name, id);
    }
    for (name, &id) in &package.worlds {
        let world = &resolve.worlds[id];
        visit.item(name, &world.docs, &world.stability);
        for (key, item) in world.imports.iter().chain(&world.exports) {
            visit.world_item(name, key, item);
        }
    }
    visit.complaints
}

struct Visit<'a> {
    resolve: &'a Resolve,
    complaints: Vec<String>,
}

impl Visit<'_> {
    fn interface(&mut self, path: &str, id: InterfaceId) {
        let interface = &self.resolve.interfaces[id];
        self.item(path, &interface.docs, &interface.stability);
        for (name, &id) in &interface.types {
            self.type_definition(&format!("{path}/{name}"), id);
        }
        for (name, function) in &interface.functions {
            self.function(&format!("{path}/{name}"), function);
        }
    }

    /// An interface that a world only refers to is documented where it is written.
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
        self.item(path, &function.docs, &function.stability);
    }

    fn type_definition(&mut self, path: &str, id: TypeId) {
        let definition = &self.resolve.types[id];
        if let TypeDefKind::Type(Type::Id(other)) = definition.kind
            && self.resolve.types[other].owner != definition.owner
        {
            // A `use`: documented where the type is written.
            return;
        }
        self.item(path, &definition.docs, &definition.stability);
        let members: Vec<(&str, &Docs)> = match &definition.kind {
            TypeDefKind::Record(it) => it.fields.iter().map(|f| (&*f.name, &f.docs)).collect(),
            TypeDefKind::Variant(it) => it.cases.iter().map(|c| (&*c.name, &c.docs)).collect(),
            TypeDefKind::Enum(it) => it.cases.iter().map(|c| (&*c.name, &c.docs)).collect(),
            TypeDefKind::Flags(it) => it.flags.iter().map(|f| (&*f.name, &f.docs)).collect(),
            _ => Vec::new(),
        };
        for (name, docs) in members {
            self.docs(&format!("{path}/{name}"), docs);
        }
    }

    fn item(&mut self, path: &str, docs: &Docs, stability: &Stability) {
        self.docs(path, docs);
        // That the version is not later than the package's, the parser sees to.
        if !matches!(stability, Stability::Stable { .. }) {
            self.complaints.push(format!("`{path}` lacks @since"));
        }
    }

    fn docs(&mut self, path: &str, docs: &Docs) {
        if docs.contents.as_deref().unwrap_or("").trim().is_empty() {
            self.complaints
                .push(format!("`{path}` lacks a doc comment"));
        }
    }
}
