//! The routes of the server, by pattern. They name a request in logs and metrics, and tell
//! which methods a path supports.

use std::collections::HashMap;

use serde_json::Value;

/// All routes. The key is the path with each parameter replaced by `*`.
#[derive(Debug)]
pub(crate) struct Routes {
    routes: HashMap<String, Route>,
}

/// A path, and the methods that it supports.
#[derive(Debug)]
pub(crate) struct Route {
    path: String,
    parameters: Vec<String>,
    methods: Vec<String>,
}

impl Routes {
    /// The routes of an OpenAPI document.
    pub fn from_openapi(document: &Value) -> Self {
        let paths = document["paths"].as_object().into_iter().flatten();
        let routes = paths.map(|(path, operations)| {
            let parameters = path.split('/').filter_map(|part| part.strip_prefix('{'));
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
            let route = Route {
                path: path.clone(),
                parameters: parameters
                    .map(|name| name.trim_end_matches('}').to_owned())
                    .collect(),
                methods,
            };
            (key(path), route)
        });
        Self {
            routes: routes.collect(),
        }
    }

    /// Adds paths that are not in the OpenAPI document, with the methods that they support.
    pub fn with(
        mut self,
        paths: impl IntoIterator<Item = (String, &'static [&'static str])>,
    ) -> Self {
        self.routes.extend(paths.into_iter().map(|(path, methods)| {
            let route = Route {
                path: path.clone(),
                parameters: Vec::new(),
                methods: methods.iter().map(|&method| method.to_owned()).collect(),
            };
            (key(&path), route)
        }));
        self
    }

    /// The route of a pattern of poem's router, such as `/nodes/:param0`.
    pub fn find(&self, pattern: &str) -> Option<&Route> {
        self.routes.get(&key(pattern))
    }
}

impl Route {
    /// The path as the OpenAPI document writes it, such as `/nodes/{id}`.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// The supported methods, as the header `Allow` lists them.
    pub fn methods(&self) -> String {
        self.methods.join(", ")
    }

    /// The name of a path parameter. poem numbers them: `param0`, `param1`.
    pub fn parameter(&self, poem_name: &str) -> Option<&str> {
        let index: usize = poem_name.strip_prefix("param")?.parse().ok()?;
        self.parameters.get(index).map(String::as_str)
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
    fn a_route_is_found_by_the_pattern_of_the_router() {
        let document = serde_json::json!({"paths": {
            "/modules/{name}/versions/{version}": {"put": {}, "get": {}},
        }});
        let routes = Routes::from_openapi(&document);
        let route = routes.find("/modules/:param0/versions/:param1").unwrap();
        assert_eq!(route.path(), "/modules/{name}/versions/{version}");
        assert_eq!(route.methods(), "GET, HEAD, PUT");
        assert_eq!(route.parameter("param1"), Some("version"));
        assert!(routes.find("/modules/:param0").is_none());
    }
}
