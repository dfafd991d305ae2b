//! The OpenAPI document of the API.

use poem_openapi::{LicenseObject, OpenApi, OpenApiService};
use serde_json::{Value, json};

use crate::auth::Role;
use crate::rest::operations;

const DESCRIPTION: &str = "\
HotSwap rolls new versions of modules out to fleets of nodes, by strategies that anyone can write.

Start with `PUT /api/v1/modules/{name}/versions/{version}` and `POST /api/v1/deployments`, then \
watch the deployment with `GET /api/v1/deployments/{id}/events?wait=30`.

- Every operation under `/api/v1` needs the header `Authorization: Bearer <token>`. The token is \
the API token, a signed token (JWT) if the engine is configured to accept them, or, for the \
operations that nodes call, the node token.
- A signed token has one of three roles: `viewer` (reads), `operator` (also uploads modules, and \
creates and controls deployments) or `admin` (everything). The API token is an `admin`. The role \
that an operation needs is in its description and, for programs, in `x-required-role`. A token with \
a lower role gets a 403; an expired token gets a 401 of the type \
`urn:hotswap:problem:token-expired`.
- `/health`, `/metrics` and this document need no token. By default, the engine listens only on \
this machine.
- Times are in milliseconds since the Unix epoch. Absent values are omitted, never `null`.
- Failures are answered with `application/problem+json` (RFC 9457): `type` is for programs, \
`detail` for people. Later releases may add fields and types.
- Every response has the header `x-request-id`, which the engine logs. Send your own id in this \
header to find your request in the log.";

/// The OpenAPI 3.0 document of the API, as formatted JSON. The same release always returns
/// the same bytes. Needs no engine.
pub fn openapi() -> String {
    document(&service(operations()))
}

/// The page of Swagger UI, with the same document in it.
pub(crate) fn swagger_ui() -> String {
    let service = service(operations());
    // poem's page holds the document as poem writes it.
    service
        .swagger_ui_html()
        .replace(&service.spec(), &document(&service))
}

/// An API with the title, description and licence of this one.
pub(crate) fn service<T: OpenApi>(api: T) -> OpenApiService<T, ()> {
    OpenApiService::new(api, "HotSwap", env!("CARGO_PKG_VERSION"))
        .summary("Rolls modules out to fleets of nodes")
        .description(DESCRIPTION)
        .license(LicenseObject::new("Apache-2.0").identifier("Apache-2.0"))
        .server("/")
}

fn document<T: OpenApi>(service: &OpenApiService<T, ()>) -> String {
    let document = serde_json::from_str(&service.spec()).and_then(|mut document| {
        add_roles(&mut document);
        remove_openapi_31(&mut document);
        serde_json::to_string_pretty(&document)
    });
    // Cannot fail: serde_json wrote the input.
    let mut document = document.unwrap_or_default();
    document.push('\n');
    document
}

/// Removes fields that poem writes but OpenAPI 3.0 does not have.
fn remove_openapi_31(document: &mut Value) {
    if let Some(info) = document["info"].as_object_mut() {
        info.remove("summary");
        if let Some(license) = info.get_mut("license").and_then(Value::as_object_mut) {
            license.remove("identifier");
        }
    }
}

/// Replaces poem's security scheme for each role by one scheme for all, and names the role in
/// each operation. To clients the roles are one scheme: the same header, with a token that
/// allows more or less.
fn add_roles(document: &mut Value) {
    const SCHEME: &str = "apiToken";
    let paths = document["paths"].as_object_mut().into_iter().flatten();
    let operations = paths.filter_map(|(_, path)| path.as_object_mut());
    for (_, operation) in operations.flatten() {
        let scheme = operation["security"][0].as_object();
        let name = scheme.and_then(|scheme| scheme.keys().next());
        let Some(role) = name.and_then(|name| name.parse::<Role>().ok()) else {
            continue;
        };
        let description = operation["description"].as_str().unwrap_or_default();
        operation["description"] = format!("{description}\n\nNeeds the role `{role}`.").into();
        operation["security"] = json!([{ SCHEME: [] }]);
        operation["x-required-role"] = role.as_str().into();
    }
    if let Some(schemes) = document["components"]["securitySchemes"].as_object_mut() {
        schemes.retain(|name, _| name.parse::<Role>().is_err());
        let scheme = json!({
            "description": "The API token, or a signed token (JWT) of a person or a program. Its role decides what it allows.",
            "scheme": "bearer",
            "type": "http",
        });
        schemes.insert(SCHEME.to_owned(), scheme);
    }
}
