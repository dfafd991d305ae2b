//! The normal form of a package: the path and the type of each item, sorted.

use std::collections::BTreeMap;
use std::fmt;
use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result};
use wit_parser::{
    Function, FunctionKind, Handle, InterfaceId, PackageId, Resolve, Type, TypeDefKind, TypeId,
    TypeOwner, WorldItem, WorldKey,
};

/// The path and the type of each item of a package. Packages with the same normal form run the
/// same guests.
#[derive(Debug, PartialEq, Eq)]
pub struct NormalForm(BTreeMap<String, String>);

impl NormalForm {
    /// The normal form of a package.
    pub fn new(resolve: &Resolve, package: PackageId) -> Self {
        let renderer = TypeRenderer { resolve, package };
        let mut items = BTreeMap::new();
        let package = &resolve.packages[package];
        items.insert("package".to_owned(), package.name.to_string());
        for (name, &id) in &package.interfaces {
            items.insert(name.clone(), "interface".to_owned());
            renderer.interface(name, id, &mut items);
        }
        for (name, &id) in &package.worlds {
            items.insert(name.clone(), "world".to_owned());
            let world = &resolve.worlds[id];
            for (direction, list) in [("import", &world.imports), ("export", &world.exports)] {
                for (key, item) in list {
                    renderer.world_item(&format!("{name}/{direction}"), key, item, &mut items);
                }
            }
        }
        Self(items)
    }

    /// Reads a record.
    ///
    /// # Errors
    /// If the file cannot be read, or a line has no ` = `.
    pub fn read(path: &Path) -> Result<Self> {
        let text =
            fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
        Self::parse(&text).with_context(|| {
            format!(
                "{} is damaged: restore it from version control",
                path.display()
            )
        })
    }

    /// Parses the text that [`Display`](fmt::Display) writes.
    ///
    /// # Errors
    /// If a line has no ` = `.
    pub fn parse(text: &str) -> Result<Self> {
        let items = text.lines().map(|line| {
            let (path, item) = line.split_once(" = ").context("a line has no ` = `")?;
            Ok((path.to_owned(), item.to_owned()))
        });
        Ok(Self(items.collect::<Result<_>>()?))
    }

    /// The differences between this, which is the record, and the contract `now`, with one
    /// sentence for each.
    pub fn describe_changes(&self, now: &Self) -> Vec<String> {
        const ADVICE: &str = "a released version must not change, create a new version folder";

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

impl fmt::Display for NormalForm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (path, item) in &self.0 {
            writeln!(f, "{path} = {item}")?;
        }
        Ok(())
    }
}

/// Renders items and types as text.
struct TypeRenderer<'a> {
    resolve: &'a Resolve,
    package: PackageId,
}

impl TypeRenderer<'_> {
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
        let rendered = match item {
            WorldItem::Interface { id, .. } => {
                // Any other interface has items of its own in the package that defines it.
                if matches!(key, WorldKey::Name(_)) {
                    self.interface(&path, *id, items);
                }
                "interface".to_owned()
            }
            WorldItem::Function(function) => self.function(function),
            WorldItem::Type { id, .. } => self.definition(*id),
        };
        items.insert(path, rendered);
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
            format!("{}: {}", parameter.name, self.reference(&parameter.ty))
        });
        match &function.result {
            Some(result) => format!("{kind}({parameters}) -> {}", self.reference(result)),
            None => format!("{kind}({parameters})"),
        }
    }

    /// The definition of a named type.
    fn definition(&self, id: TypeId) -> String {
        let definition = &self.resolve.types[id];
        let with = |name: &str, ty: &Option<Type>| match ty {
            Some(ty) => format!("{name}({})", self.reference(ty)),
            None => name.to_owned(),
        };
        match &definition.kind {
            TypeDefKind::Record(record) => {
                let fields = |field: &wit_parser::Field| {
                    format!("{}: {}", field.name, self.reference(&field.ty))
                };
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
            TypeDefKind::Type(ty) => format!("type {}", self.reference(ty)),
            _ => format!("type {}", self.anonymous_type(id)),
        }
    }

    /// A reference to a type: its name, or its definition if it has no name.
    fn reference(&self, ty: &Type) -> String {
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
                Some(name) => format!("{}{name}", self.owner_prefix(*id)),
                None => self.anonymous_type(*id),
            },
        }
    }

    /// The definition of a type without a name.
    fn anonymous_type(&self, id: TypeId) -> String {
        let optional =
            |ty: &Option<Type>| ty.as_ref().map_or("_".to_owned(), |ty| self.reference(ty));
        match &self.resolve.types[id].kind {
            TypeDefKind::Option(ty) => format!("option<{}>", self.reference(ty)),
            TypeDefKind::List(ty) => format!("list<{}>", self.reference(ty)),
            TypeDefKind::FixedLengthList(ty, length) => {
                format!("list<{}, {length}>", self.reference(ty))
            }
            TypeDefKind::Map(key, value) => {
                format!("map<{}, {}>", self.reference(key), self.reference(value))
            }
            TypeDefKind::Tuple(tuple) => {
                format!("tuple<{}>", list(&tuple.types, |ty| self.reference(ty)))
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
            TypeDefKind::Handle(Handle::Own(id)) => {
                format!("own<{}>", self.reference(&Type::Id(*id)))
            }
            TypeDefKind::Handle(Handle::Borrow(id)) => {
                format!("borrow<{}>", self.reference(&Type::Id(*id)))
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

    /// The prefix of a type's name: its interface, with the package if that is another one.
    fn owner_prefix(&self, id: TypeId) -> String {
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
