#include "health/catalog_bodies.hpp"

#include "health/rows.hpp"
#include "routing/function_body.hpp"
#include "routing/kept_functions.hpp"
#include "routing/search_path.hpp"

#include <fmt/format.h>

#include <set>

namespace pgsteer::health {

namespace asio = boost::asio;
using routing::CatalogFacts;
using routing::Kept;
using routing::KeptFunctions;
using routing::TimePoint;

namespace {

constexpr std::size_t kMaxBodies = 16U << 20U;  // bytes of functions read at a time
constexpr int kMaxRounds = 16;                  // of functions that call functions
constexpr std::size_t kMaxNames = 100;          // to look for: with more, all bodies are read

// Whether routing::read_body() may find something in it that PostgreSQL itself does.
constexpr std::string_view kMayKeep =
    "p.prosrc ~* '\\m(set_config|setseed|set|reset|load|gd|pg_settings)\\M|_shared|origin_session"
    "|pg_(start_)?backup_?'";

// Of all that are no extension's. Those beyond the bound count as if they set something.
std::string bodies_sql(std::string_view condition) {
    return fmt::format(
        "SELECT b.nspname, b.proname, b.is_trigger, CASE WHEN b.total <= {} THEN b.body END FROM ("
        "SELECT n.nspname, p.proname,"
        " p.prorettype IN ('pg_catalog.trigger'::pg_catalog.regtype,"
        " 'pg_catalog.event_trigger'::pg_catalog.regtype) AS is_trigger,"
        " pg_catalog.left(p.prosrc, 65536) AS body,"
        " pg_catalog.sum(LEAST(pg_catalog.length(p.prosrc), 65536)) OVER (ORDER BY p.oid) AS total"
        " FROM pg_catalog.pg_proc p JOIN pg_catalog.pg_namespace n ON n.oid = p.pronamespace"
        " JOIN pg_catalog.pg_language l ON l.oid = p.prolang"
        " WHERE p.oid >= 16384 AND l.lanname NOT IN ('c', 'internal') AND n.nspname !~ '^pg_temp_'"
        " AND NOT EXISTS (SELECT FROM pg_catalog.pg_depend d WHERE d.objid = p.oid"
        " AND d.classid = 'pg_catalog.pg_proc'::pg_catalog.regclass AND d.deptype = 'e')"
        " AND {}) b",
        kMaxBodies, condition);
}

// What keeps something, and the relations behind whose writes it is called: also from defaults,
// checks and policies, from below parents, and where foreign keys cascade to. Built-in functions
// have no dependencies; they are seen in the trees of rules and expressions.
constexpr std::string_view kWrittenSql =
    "WITH RECURSIVE kept(schema, name, keeps) AS (VALUES (NULL::text, NULL::text, 0){}),"
    " called(oid, keeps) AS (SELECT p.oid, k.keeps FROM kept k"
    " JOIN pg_catalog.pg_namespace n ON n.nspname = k.schema"
    " JOIN pg_catalog.pg_proc p ON p.pronamespace = n.oid AND p.proname = k.name),"
    " tree(relation, expression) AS ("
    " SELECT r.ev_class, r.ev_action::text FROM pg_catalog.pg_rewrite r"
    " WHERE r.oid >= 16384 AND r.ev_type <> '1' AND r.ev_enabled <> 'D'"
    " UNION ALL SELECT a.adrelid, a.adbin::text FROM pg_catalog.pg_attrdef a),"
    " builtin(keeps, pattern) AS (SELECT CASE p.proname WHEN 'set_config' THEN {} ELSE {} END,"
    " ':funcid ' || p.oid || ' ' FROM pg_catalog.pg_proc p"
    " WHERE p.oid < 16384 AND p.proname IN ('set_config', 'setseed')),"
    " via(written, writer) AS MATERIALIZED ("
    " SELECT i.inhrelid, i.inhparent FROM pg_catalog.pg_inherits i"
    " UNION ALL SELECT c.conrelid, c.confrelid FROM pg_catalog.pg_constraint c"
    " WHERE c.contype = 'f'"
    " AND (c.confupdtype IN ('c', 'n', 'd') OR c.confdeltype IN ('c', 'n', 'd'))"
    " UNION ALL SELECT d.refobjid, r.ev_class FROM pg_catalog.pg_rewrite r"
    " JOIN pg_catalog.pg_depend d ON d.objid = r.oid"
    " AND d.classid = 'pg_catalog.pg_rewrite'::pg_catalog.regclass"
    " AND d.refclassid = 'pg_catalog.pg_class'::pg_catalog.regclass AND d.refobjid <> r.ev_class"
    " WHERE r.oid >= 16384),"
    " written(relation, keeps) AS ("
    " SELECT COALESCE(t.tgrelid, a.adrelid, c.conrelid, y.polrelid, r.ev_class), f.keeps"
    " FROM called f JOIN pg_catalog.pg_depend d ON d.refobjid = f.oid"
    " AND d.refclassid = 'pg_catalog.pg_proc'::pg_catalog.regclass"
    " LEFT JOIN pg_catalog.pg_trigger t ON t.oid = d.objid AND t.tgenabled <> 'D'"
    " AND d.classid = 'pg_catalog.pg_trigger'::pg_catalog.regclass"
    " LEFT JOIN pg_catalog.pg_attrdef a ON a.oid = d.objid"
    " AND d.classid = 'pg_catalog.pg_attrdef'::pg_catalog.regclass"
    " LEFT JOIN pg_catalog.pg_constraint c ON c.oid = d.objid"
    " AND d.classid = 'pg_catalog.pg_constraint'::pg_catalog.regclass"
    " LEFT JOIN pg_catalog.pg_policy y ON y.oid = d.objid"
    " AND d.classid = 'pg_catalog.pg_policy'::pg_catalog.regclass"
    " LEFT JOIN pg_catalog.pg_rewrite r ON r.oid = d.objid AND r.ev_type <> '1'"
    " AND r.ev_enabled <> 'D' AND d.classid = 'pg_catalog.pg_rewrite'::pg_catalog.regclass"
    " UNION SELECT t.relation, b.keeps FROM tree t"
    " JOIN builtin b ON pg_catalog.strpos(t.expression, b.pattern) > 0"
    " UNION SELECT v.writer, w.keeps FROM written w JOIN via v ON v.written = w.relation)"
    " SELECT n.nspname, c.relname, pg_catalog.max(w.keeps) FROM written w"
    " JOIN pg_catalog.pg_class c ON c.oid = w.relation"
    " JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace GROUP BY n.nspname, c.relname";

void take_body(const Row& row, CatalogFacts& facts) {
    auto body = routing::read_body(text(row, 3));
    if (row.size() < 4 || !row[3]) body.keeps = Kept::What::settings;
    facts.bodies.push_back({text(row, 0), text(row, 1), is_true(row, 2), std::move(body)});
}

std::string written_sql(const KeptFunctions& kept) {
    std::string rows;
    for (const auto& [name, what] : kept.all())
        rows += fmt::format(", ({}, {}, {})", routing::quote_literal(name.first),
                            routing::quote_literal(name.second), static_cast<int>(what));
    return fmt::format(kWrittenSql, rows, static_cast<int>(Kept::What::settings),
                       static_cast<int>(Kept::What::state));
}

// For a regular expression: of all that keep something the names that are not among `asked` yet,
// as bodies spell them. Empty: there are no more.
std::string unasked_names(const KeptFunctions& kept,
                          const CatalogFacts& facts,
                          std::set<std::string>& asked) {
    std::string names;
    const auto ask = [&](const std::string& name) {
        const auto spelled = routing::spelled_in_body(name);
        if (spelled.empty() || !asked.insert(spelled).second) return;
        names.append(names.empty() ? "" : "|").append(spelled);
    };
    for (const auto& [name, what] : kept.all()) ask(name.second);
    for (const auto& table : facts.written) ask(table.name);
    return names;
}

}  // namespace

asio::awaitable<PgError> read_bodies(PgClient& client,
                                     const routing::FunctionOverrides& overrides,
                                     TimePoint deadline,
                                     CatalogFacts& facts) {
    std::set<std::string> asked;
    std::string condition{kMayKeep};
    bool has_all = false;
    for (int round = 0; round < kMaxRounds; ++round) {
        if (!condition.empty()) {
            const auto bodies = co_await client.query(bodies_sql(condition), deadline);
            if (bodies.error) co_return bodies.error;
            for (const Row& row : bodies.rows) take_body(row, facts);
        }
        const KeptFunctions direct{facts, overrides};
        const auto written = co_await client.query(written_sql(direct), deadline);
        if (written.error) co_return written.error;
        facts.written.clear();
        for (const Row& row : written.rows)
            facts.written.push_back(
                {text(row, 0), text(row, 1), static_cast<Kept::What>(std::stoi(text(row, 2)))});
        const auto names = unasked_names(KeptFunctions{facts, overrides}, facts, asked);
        if (names.empty()) break;
        condition.clear();
        if (has_all) continue;
        has_all = asked.size() > kMaxNames;
        if (!has_all) condition = fmt::format("p.prosrc ~* '\\m({})\\M' AND ", names);
        condition += fmt::format("NOT {}", kMayKeep);
    }
    co_return PgError{};
}

}  // namespace pgsteer::health
