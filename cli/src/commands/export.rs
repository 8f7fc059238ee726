//! `baton executions --format`: executions for another program, one page of them or all.

use std::time::Duration;

use baton::signature::Purpose;
use http::header::{ACCEPT, LINK};
use http::{HeaderMap, HeaderValue, Method};

use crate::args::{Executions, Format};
use crate::commands::history;
use crate::id::quoted;
use crate::output::{Exit, Failure, Report, Style};
use crate::show;
use crate::signed::{Answer, Caller};

const TIMEOUT: Duration = Duration::from_secs(30);
/// So many pages `--all` reads at most: 100000 executions, in a table that fits into memory.
const PAGES_MAX: usize = 200;
/// How many executions a page has at most, as the gateway has it.
const PAGE_ROWS: u64 = 500;

/// Prints executions as this format has them.
pub fn run(args: &Executions, format: Format, style: Style) -> Result<Report, Failure> {
    let caller = Caller::new(&args.call, Purpose::Operate, None)?;
    let media_type = match format {
        Format::Csv => "text/csv",
        Format::Jsonl => "application/jsonl",
    };
    let mut target = history::target(args, if args.all { Some(PAGE_ROWS) } else { args.limit });
    let mut table = String::new();
    let pages = if args.all { PAGES_MAX } else { 1 };
    for _ in 0..pages {
        let mut request = Caller::without_body(caller.request(Method::GET, &target))?;
        // In the place of JSON, which would come first.
        request
            .headers_mut()
            .insert(ACCEPT, HeaderValue::from_static(media_type));
        let answer = caller.call(request, TIMEOUT)?;
        if !answer.response.status().is_success() {
            // What came before stays unprinted: half a table would look like a whole one.
            return show::report(&answer, false, style, |_| Ok((Exit::Refused, String::new())));
        }
        add(&mut table, &answer, format)?;
        match next_page(answer.response.headers()) {
            Some(next) => target = next,
            None => return Ok(Report::new(Exit::Done, table)),
        }
    }
    let cursor = target.split(['?', '&']).find_map(|pair| pair.strip_prefix("cursor="));
    let cursor = quoted(cursor.unwrap_or_default());
    Ok(Report::new(Exit::Done, table).note(format!("there are more: --cursor {cursor}")))
}

/// Adds a page to the table, which has its line of names once.
fn add(table: &mut String, answer: &Answer, format: Format) -> Result<(), Failure> {
    let page = String::from_utf8_lossy(answer.response.body());
    if table.is_empty() || format == Format::Jsonl {
        table.push_str(&page);
        return Ok(());
    }
    let names = table.split_inclusive('\n').next().unwrap_or_default();
    let rows = page.strip_prefix(names);
    let rows = rows.ok_or_else(|| show::unexpected(&answer.response, "further page: its columns are others"))?;
    table.push_str(rows);
    Ok(())
}

/// The path and query of the next page, as `Link` names it.
fn next_page(headers: &HeaderMap) -> Option<String> {
    let links = headers.get_all(LINK).iter().filter_map(|value| value.to_str().ok());
    links
        .filter_map(|link| link.strip_prefix('<')?.strip_suffix(">; rel=\"next\""))
        .find(|target| target.starts_with("/executions?"))
        .map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    #[test]
    fn the_next_page_is_of_executions() {
        for (link, expected) in [
            ("</executions?cursor=1-x>; rel=\"next\"", Some("/executions?cursor=1-x")),
            ("</executions?cursor=1-x>; rel=\"prev\"", None),
            (
                "<https://elsewhere.example.com/executions?cursor=1-x>; rel=\"next\"",
                None,
            ),
            ("</operator/outbox?cursor=1-x>; rel=\"next\"", None),
        ] {
            let headers = HeaderMap::from_iter([(LINK, HeaderValue::from_static(link))]);
            assert_eq!(next_page(&headers).as_deref(), expected, "{link}");
        }
        assert_eq!(next_page(&HeaderMap::new()), None);
    }
}
