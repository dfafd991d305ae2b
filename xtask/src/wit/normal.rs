//! The normal form of a package: each item's path and type, sorted.

use std::collections::BTreeMap;
use std::fmt;
use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result};
use wit_parser::{
    Function, FunctionKind, Handle, InterfaceId, PackageId, Resolve, Type, TypeDefKind, TypeId,
    TypeOwner, WorldItem, WorldKey,
};

/// The items of a package. Two packages with the same normal form run the same guests.
#[derive(Debug, PartialEq, Eq)]
pub struct Normal(BTreeMap<String, String>);

impl Normal {
    /// The normal form of a package.
    pub fn of(resolve: &Resolve, package: PackageId) -> Self {
        let names = Names { resolve, package };
        let mut items = BTreeMap::new();
        let package = &resolve.packages[package];
        items.insert("package".to_owned(), package.name.to_string());
        for (name, &id) in &package.interfaces {
            items.insert(name.clone(), "interface".to_owned());
            names.interface(name, id, &mut items);
        }
        for (name, &id) in &package.worlds {
            items.insert(name.clone(), "world".to_owned());
            let world = &resolve.worlds[id];
            for (direction, list) in [("import", &world.imports), ("export", &world.exports)] {
                for (key, item) in list {
                    names.world_item(&format!("{name}/{direction}"), key, item, &mut items);
                }
            }
        }
        Self(items)
    }

    /// Reads a record.
    ///
    /// # Errors
    /// The file cannot be read, or a line of it has no ` = `.
    pub fn read(path: &Path) -> Result<Self> {
        let text =
            fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
        Self::parse(&text).with_context(|| format!("{} is damaged", path.display()))
    }

    /// Understands what [`Display`](fmt::Display) wrote.
    pub fn parse(text: &str) -> Result<Self> {
        let items = text.lines().map(|line| {
            let (path, shape) = line.split_once(" = ").context("a line without ` = `")?;
            Ok((path.to_owned(), shape.to_owned()))
        });
        Ok(Self(items.collect::<Result<_>>()?))
    }

    /// What differs between this, the record, and what the contract is now. One
    /// sentence each.
    pub fn changes(&self, now: &Self) -> Vec<String> {
        const ADVICE: &str = "a released version stays as it is, make a new folder";

        let mut changes = Vec::new();
        for (path, old) in &self.0 {
            match now.0.get(path) {
                Some(new) if new == old => {}
                Some(new) => changes.push(format!(
                    "`{path}` was released as `{old}` and is now `{new}`: {ADVICE}"
                )),
                None => changes.push(format!("`{path}` was removed: {ADVICE}")),
            }
        }
        for path in now.0.keys().filter(|path| !self.0.contains_key(*path)) {
            changes.push(format!("`{path}` was added: {ADVICE}"));
        }
        changes
    }
}

impl fmt::Display for Normal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (path, shape) in &self.0 {
            writeln!(f, "{path} = {shape}")?;
        }
        Ok(())
    }
}

/// Renders types by the names in one resolve.
struct Names<'a> {
    resolve: &'a Resolve,
    package: PackageId,
}

impl Names<'_> {
    fn interface(&self, path: &str, id: InterfaceId, items: &mut BTreeMap<String, String>) {
        let interface = &self.resolve.interfaces[id];
        for (name, &id) in &interface.types {
            items.insert(format!("{path}/{name}"), self.definition(id));
        }
        for (name, function) in &interface.functions {
            items.insert(format!("{path}/{name}"), self.function(function));
        }
    }

    fn world_item(
        &self,
        path: &str,
        key: &WorldKey,
        item: &WorldItem,
        items: &mut BTreeMap<String, String>,
    ) {
        let path = format!("{path}/{}", self.resolve.name_world_key(key));
        let shape = match item {
            WorldItem::Interface { id, .. } => {
                // Only an interface that is written inside the world has no place of its own.
                if matches!(key, WorldKey::Name(_)) {
                    self.interface(&path, *id, items);
                }
                "interface".to_owned()
            }
            WorldItem::Function(function) => self.function(function),
            WorldItem::Type { id, .. } => self.definition(*id),
        };
        items.insert(path, shape);
    }

    fn function(&self, function: &Function) -> String {
        let kind = match &function.kind {
            FunctionKind::Freestanding | FunctionKind::Method(_) => "func",
            FunctionKind::AsyncFreestanding | FunctionKind::AsyncMethod(_) => "async func",
            FunctionKind::Static(_) => "static func",
            FunctionKind::AsyncStatic(_) => "static async func",
            FunctionKind::Constructor(_) => "constructor",
        };
        let parameters = list(&function.params, |parameter| {
            format!("{}: {}", parameter.name, self.of(&parameter.ty))
        });
        match &function.result {
            Some(result) => format!("{kind}({parameters}) -> {}", self.of(result)),
            None => format!("{kind}({parameters})"),
        }
    }

    /// What a named type is.
    fn definition(&self, id: TypeId) -> String {
        let definition = &self.resolve.types[id];
        let with = |name: &str, ty: &Option<Type>| match ty {
            Some(ty) => format!("{name}({})", self.of(ty)),
            None => name.to_owned(),
        };
        match &definition.kind {
            TypeDefKind::Record(record) => {
                let fields =
                    |field: &wit_parser::Field| format!("{}: {}", field.name, self.of(&field.ty));
                format!("record {{ {} }}", list(&record.fields, fields))
            }
            TypeDefKind::Variant(variant) => {
                let cases = list(&variant.cases, |case| with(&case.name, &case.ty));
                format!("variant {{ {cases} }}")
            }
            TypeDefKind::Enum(names) => {
                format!(
                    "enum {{ {} }}",
                    list(&names.cases, |case| case.name.clone())
                )
            }
            TypeDefKind::Flags(flags) => {
                format!(
                    "flags {{ {} }}",
                    list(&flags.flags, |flag| flag.name.clone())
                )
            }
            TypeDefKind::Resource => "resource".to_owned(),
            TypeDefKind::Type(ty) => format!("type {}", self.of(ty)),
            _ => format!("type {}", self.structure(id)),
        }
    }

    /// How a type is referred to.
    fn of(&self, ty: &Type) -> String {
        match ty {
            Type::Bool => "bool".to_owned(),
            Type::U8 => "u8".to_owned(),
            Type::U16 => "u16".to_owned(),
            Type::U32 => "u32".to_owned(),
            Type::U64 => "u64".to_owned(),
            Type::S8 => "s8".to_owned(),
            Type::S16 => "s16".to_owned(),
            Type::S32 => "s32".to_owned(),
            Type::S64 => "s64".to_owned(),
            Type::F32 => "f32".to_owned(),
            Type::F64 => "f64".to_owned(),
            Type::Char => "char".to_owned(),
            Type::String => "string".to_owned(),
            Type::ErrorContext => "error-context".to_owned(),
            Type::Id(id) => match &self.resolve.types[*id].name {
                Some(name) => format!("{}{name}", self.owner(*id)),
                None => self.structure(*id),
            },
        }
    }

    /// A type without a name of its own.
    fn structure(&self, id: TypeId) -> String {
        let optional = |ty: &Option<Type>| ty.as_ref().map_or("_".to_owned(), |ty| self.of(ty));
        match &self.resolve.types[id].kind {
            TypeDefKind::Option(ty) => format!("option<{}>", self.of(ty)),
            TypeDefKind::List(ty) => format!("list<{}>", self.of(ty)),
            TypeDefKind::FixedLengthList(ty, length) => {
                format!("list<{}, {length}>", self.of(ty))
            }
            TypeDefKind::Map(key, value) => format!("map<{}, {}>", self.of(key), self.of(value)),
            TypeDefKind::Tuple(tuple) => {
                format!("tuple<{}>", list(&tuple.types, |ty| self.of(ty)))
            }
            TypeDefKind::Result(result) => {
                format!(
                    "result<{}, {}>",
                    optional(&result.ok),
                    optional(&result.err)
                )
            }
            TypeDefKind::Future(ty) => format!("future<{}>", optional(ty)),
            TypeDefKind::Stream(ty) => format!("stream<{}>", optional(ty)),
            TypeDefKind::Handle(Handle::Own(id)) => format!("own<{}>", self.of(&Type::Id(*id))),
            TypeDefKind::Handle(Handle::Borrow(id)) => {
                format!("borrow<{}>", self.of(&Type::Id(*id)))
            }
            TypeDefKind::Type(_)
            | TypeDefKind::Record(_)
            | TypeDefKind::Variant(_)
            | TypeDefKind::Enum(_)
            | TypeDefKind::Flags(_)
            | TypeDefKind::Resource => self.definition(id),
            TypeDefKind::Unknown => "unknown".to_owned(),
        }
    }

    /// The interface in front of a type's name; with its package, if that is another.
    fn owner(&self, id: TypeId) -> String {
        let TypeOwner::Interface(id) = self.resolve.types[id].owner else {
            return String::new();
        };
        let interface = &self.resolve.interfaces[id];
        let name = if interface.package == Some(self.package) {
            interface.name.clone()
        } else {
            self.resolve.id_of(id)
        };
        name.map_or_else(String::new, |name| format!("{name}."))
    }
}

fn list<T>(items: &[T], render: impl Fn(&T) -> String) -> String {
    items.iter().map(render).collect::<Vec<_>>().join(", ")
}
