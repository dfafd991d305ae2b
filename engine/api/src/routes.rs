//! The places that the document lists, to name a request by its route and to say which
//! methods apply there.

use std::collections::HashMap;

use serde_json::Value;

/// All places, by what is left of their paths without the names of parameters.
#[derive(Debug)]
pub(crate) struct Routes {
    places: HashMap<String, Place>,
}

/// One path of the document.
#[derive(Debug)]
pub(crate) struct Place {
    path: String,
    parameters: Vec<String>,
    methods: Vec<String>,
}

impl Routes {
    /// The places of an OpenAPI document.
    pub fn of(document: &Value) -> Self {
        let paths = document["paths"].as_object().into_iter().flatten();
        let places = paths.map(|(path, operations)| {
            let names = path.split('/').filter_map(|part| part.strip_prefix('{'));
            let mut methods: Vec<String> = operations
                .as_object()
                .into_iter()
                .flat_map(|operations| operations.keys())
                .map(|method| method.to_ascii_uppercase())
                .collect();
            if methods.iter().any(|method| method == "GET") {
                methods.push("HEAD".to_owned());
            }
            methods.sort();
            let place = Place {
                path: path.clone(),
                parameters: names
                    .map(|name| name.trim_end_matches('}').to_owned())
                    .collect(),
                methods,
            };
            (key(path), place)
        });
        Self {
            places: places.collect(),
        }
    }

    /// These as well, with the methods that apply: places that are no operations.
    pub fn with(
        mut self,
        places: impl IntoIterator<Item = (String, &'static [&'static str])>,
    ) -> Self {
        self.places
            .extend(places.into_iter().map(|(path, methods)| {
                let place = Place {
                    path: path.clone(),
                    parameters: Vec::new(),
                    methods: methods.iter().map(|&method| method.to_owned()).collect(),
                };
                (key(&path), place)
            }));
        self
    }

    /// The place of a pattern, as poem's router tells it.
    pub fn place(&self, pattern: &str) -> Option<&Place> {
        self.places.get(&key(pattern))
    }
}

impl Place {
    /// The path as the document writes it.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// The methods that apply, as the header `Allow` lists them.
    pub fn methods(&self) -> String {
        self.methods.join(", ")
    }

    /// The name of a parameter of the path, which poem calls by its number: `param0`.
    pub fn parameter(&self, name: &str) -> Option<&str> {
        let number: usize = name.strip_prefix("param")?.parse().ok()?;
        self.parameters.get(number).map(String::as_str)
    }
}

fn key(path: &str) -> String {
    let parts = path.split('/').map(|part| match part.chars().next() {
        Some(':' | '{') => "*",
        _ => part,
    });
    parts.collect::<Vec<_>>().join("/")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_a_place_by_the_routers_pattern() {
        let document = serde_json::json!({"paths": {
            "/modules/{name}/versions/{version}": {"put": {}, "get": {}},
        }});
        let routes = Routes::of(&document);
        let place = routes.place("/modules/:param0/versions/:param1").unwrap();
        assert_eq!(place.path(), "/modules/{name}/versions/{version}");
        assert_eq!(place.methods(), "GET, HEAD, PUT");
        assert_eq!(place.parameter("param1"), Some("version"));
        assert!(routes.place("/modules/:param0").is_none());
    }
}
