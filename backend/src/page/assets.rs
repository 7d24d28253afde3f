//! Static files of the pages, compiled into the program. Their names contain a hash of their content, so that browsers
//! can cache them forever.

use std::sync::LazyLock;

use actix_web::http::header::{CACHE_CONTROL, VARY};
use actix_web::{HttpResponse, web};
use sha2::{Digest as _, Sha256};

use crate::problem::Problem;

/// A static file.
struct Asset {
    name: &'static str,
    media_type: &'static str,
    bytes: &'static [u8],
    path: String,
}

static ASSETS: LazyLock<[Asset; 4]> = LazyLock::new(|| {
    [
        asset("style.css", "text/css; charset=utf-8", include_bytes!("../../assets/style.css")),
        asset("page.js", "text/javascript; charset=utf-8", include_bytes!("../../assets/page.js")),
        asset("tail.js", "text/javascript; charset=utf-8", include_bytes!("../../assets/tail.js")),
        asset("icon.svg", "image/svg+xml", include_bytes!("../../assets/icon.svg")),
    ]
});

fn asset(name: &'static str, media_type: &'static str, bytes: &'static [u8]) -> Asset {
    let hash: String = Sha256::digest(bytes).iter().take(8).map(|byte| format!("{byte:02x}")).collect();
    let (stem, ending) = name.split_once('.').unwrap_or((name, ""));
    Asset { name, media_type, bytes, path: format!("/assets/{stem}-{hash}.{ending}") }
}

/// The path of a file; the directory for an unknown one.
#[must_use]
pub fn path(name: &str) -> &'static str {
    ASSETS.iter().find(|asset| asset.name == name).map_or("/assets/", |asset| asset.path.as_str())
}

/// `GET /assets/{name}`
///
/// # Errors
/// 404 for an unknown name, including names of older versions.
pub async fn serve(name: web::Path<String>) -> Result<HttpResponse, Problem> {
    let path = format!("/assets/{name}");
    let Some(asset) = ASSETS.iter().find(|asset| asset.path == path) else { return Err(Problem::not_found()) };
    Ok(HttpResponse::Ok()
        .content_type(asset.media_type)
        .insert_header((CACHE_CONTROL, "public, max-age=31536000, immutable"))
        .insert_header((VARY, "Accept-Encoding"))
        .body(asset.bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_file_has_its_own_path() {
        let paths: std::collections::BTreeSet<_> = ASSETS.iter().map(|asset| path(asset.name)).collect();
        assert_eq!(paths.len(), ASSETS.len());
        assert!(paths.iter().all(|path| path.len() > "/assets/-0123456789abcdef".len()), "{paths:?}");
    }
}
