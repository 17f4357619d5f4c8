#include "health/catalog_loader.hpp"

#include "health/catalog_bodies.hpp"
#include "health/catalog_connection.hpp"
#include "health/read_in_parts.hpp"
#include "health/rows.hpp"
#include "routing/classify.hpp"

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/io_context.hpp>
#include <fmt/format.h>

#include <pthread.h>
#include <stdexcept>
#include <utility>

// GCC 12, depending on what it inlines: a coroutine's frame comes from Asio's own operator new, and
// goes by its operator delete.
#pragma GCC diagnostic ignored "-Wmismatched-new-delete"

namespace pgsteer::health {

namespace asio = boost::asio;
using routing::CatalogFacts;
using routing::Clock;
using routing::TimePoint;
using namespace std::chrono_literals;

namespace {

// The server's own search_path is looked at before it is fixed; after that all operators are those
// of pg_catalog. A setting of the health user's own would hide the server's: its source tells.
constexpr std::string_view kSettingsSql =
    "SELECT name, setting, source FROM pg_catalog.pg_settings"
    " WHERE name OPERATOR(pg_catalog.=) 'search_path'"
    " OR name OPERATOR(pg_catalog.=) 'default_transaction_isolation'"
    " OR name OPERATOR(pg_catalog.=) 'default_transaction_read_only'"
    " ORDER BY name USING OPERATOR(pg_catalog.<)";

constexpr std::string_view kBeginSql =
    "SET search_path TO pg_catalog;"
    "SET lock_timeout TO '5s';"
    "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY";

constexpr std::string_view kIsStandbySql = "SELECT pg_catalog.pg_is_in_recovery()";

// Row versions of everything that the queries below read and that is not built in. Sequential scans
// of a few system catalogs: some milliseconds for thousands of objects.
constexpr std::string_view kFingerprintSql =
    "SELECT pg_catalog.string_agg(v.part, ' ' ORDER BY v.part) FROM ("
    " SELECT 'ns ' || pg_catalog.count(*) || ' ' || pg_catalog.sum(pg_catalog.hashtextextended("
    "x.xmin::text || '.' || x.oid::text, 0)::numeric) AS part FROM pg_catalog.pg_namespace x"
    "  WHERE x.nspname !~ '^pg_(toast_)?temp_'"
    " UNION ALL SELECT 'fn ' || pg_catalog.count(*) || ' ' || pg_catalog.sum("
    "pg_catalog.hashtextextended(x.xmin::text || '.' || x.oid::text, 0)::numeric)"
    "  FROM pg_catalog.pg_proc x WHERE x.oid >= 16384"
    " UNION ALL SELECT 'op ' || pg_catalog.count(*) || ' ' || pg_catalog.sum("
    "pg_catalog.hashtextextended(x.xmin::text || '.' || x.oid::text, 0)::numeric)"
    "  FROM pg_catalog.pg_operator x WHERE x.oid >= 16384"
    " UNION ALL SELECT 'ag ' || pg_catalog.count(*) || ' ' || pg_catalog.sum("
    "pg_catalog.hashtextextended(x.xmin::text || '.' || x.aggfnoid::oid::text, 0)::numeric)"
    "  FROM pg_catalog.pg_aggregate x WHERE x.aggfnoid::oid >= 16384"
    " UNION ALL SELECT 'ty ' || pg_catalog.count(*) || ' ' || pg_catalog.sum("
    "pg_catalog.hashtextextended(x.xmin::text || '.' || x.oid::text, 0)::numeric)"
    "  FROM pg_catalog.pg_type x JOIN pg_catalog.pg_namespace n ON n.oid = x.typnamespace"
    "  WHERE x.oid >= 16384 AND n.nspname !~ '^pg_(toast_)?temp_'"
    " UNION ALL SELECT 'rl ' || pg_catalog.count(*) || ' ' || pg_catalog.sum("
    "pg_catalog.hashtextextended(x.xmin::text || '.' || x.oid::text, 0)::numeric)"
    "  FROM pg_catalog.pg_class x"
    "  WHERE x.oid >= 16384 AND x.relpersistence <> 't' AND x.relkind IN "
    "('r', 'p', 'f', 'v', 'm', 'S', 'c')"
    " UNION ALL SELECT 'in ' || pg_catalog.count(*) || ' ' || pg_catalog.sum("
    "pg_catalog.hashtextextended(x.xmin::text || '.' || x.inhrelid::text, 0)::numeric)"
    "  FROM pg_catalog.pg_inherits x"
    " UNION ALL SELECT 'tr ' || pg_catalog.count(*) || ' ' || pg_catalog.sum("
    "pg_catalog.hashtextextended(x.xmin::text || '.' || x.oid::text, 0)::numeric)"
    "  FROM pg_catalog.pg_trigger x WHERE NOT x.tgisinternal"
    " UNION ALL SELECT 'rw ' || pg_catalog.count(*) || ' ' || pg_catalog.sum("
    "pg_catalog.hashtextextended(x.xmin::text || '.' || x.oid::text, 0)::numeric)"
    "  FROM pg_catalog.pg_rewrite x WHERE x.oid >= 16384"
    " UNION ALL SELECT 'po ' || pg_catalog.count(*) || ' ' || pg_catalog.sum("
    "pg_catalog.hashtextextended(x.xmin::text || '.' || x.oid::text, 0)::numeric)"
    "  FROM pg_catalog.pg_policy x"
    " UNION ALL SELECT 'ca ' || pg_catalog.count(*) || ' ' || pg_catalog.sum("
    "pg_catalog.hashtextextended(x.xmin::text || '.' || x.oid::text, 0)::numeric)"
    "  FROM pg_catalog.pg_cast x WHERE x.oid >= 16384"
    " UNION ALL SELECT 'do ' || pg_catalog.count(*) || ' ' || pg_catalog.sum("
    "pg_catalog.hashtextextended(x.xmin::text || '.' || x.oid::text, 0)::numeric)"
    "  FROM pg_catalog.pg_constraint x WHERE (x.contypid <> 0 OR x.contype IN ('c', 'f'))"
    "  AND x.oid >= 16384"
    " UNION ALL SELECT 'de ' || pg_catalog.count(*) || ' ' || pg_catalog.sum("
    "pg_catalog.hashtextextended(x.xmin::text || '.' || x.oid::text, 0)::numeric)"
    "  FROM pg_catalog.pg_attrdef x WHERE x.oid >= 16384"
    " UNION ALL SELECT 'am ' || pg_catalog.count(*) || ' ' || pg_catalog.sum("
    "pg_catalog.hashtextextended(x.xmin::text || '.' || x.oid::text, 0)::numeric)"
    "  FROM pg_catalog.pg_amproc x WHERE x.oid >= 16384"
    " UNION ALL SELECT 'ao ' || pg_catalog.count(*) || ' ' || pg_catalog.sum("
    "pg_catalog.hashtextextended(x.xmin::text || '.' || x.oid::text, 0)::numeric)"
    "  FROM pg_catalog.pg_amop x WHERE x.oid >= 16384"
    " UNION ALL SELECT 'se ' || pg_catalog.count(*) || ' ' || pg_catalog.sum("
    "pg_catalog.hashtextextended(x.setdatabase::text || '.' || x.setrole::text || "
    "x.setconfig::text, 0)::numeric)"
    "  FROM pg_catalog.pg_db_role_setting x"
    ") v";

// Procedures cannot be called in a read, trigger functions not at all.
constexpr std::string_view kFunctionsSql =
    "SELECT n.nspname, p.proname, p.provolatile = 'v' AND p.prokind <> 'a',"
    " p.pronargs >= 1 AND p.pronargs - p.pronargdefaults <= 1 AND t.typtype IN ('c', 'p', 'd'),"
    " e.extname"
    " FROM pg_catalog.pg_proc p"
    " JOIN pg_catalog.pg_namespace n ON n.oid = p.pronamespace"
    " LEFT JOIN pg_catalog.pg_type t ON t.oid = p.proargtypes[0]"
    " LEFT JOIN pg_catalog.pg_depend d ON d.classid = 'pg_catalog.pg_proc'::pg_catalog.regclass"
    " AND d.objid = p.oid AND d.deptype = 'e'"
    " LEFT JOIN pg_catalog.pg_extension e ON e.oid = d.refobjid"
    " WHERE (n.nspname <> 'pg_catalog' OR p.oid >= 16384) AND p.prokind <> 'p'"
    " AND n.nspname !~ '^pg_temp_'"
    " AND p.prorettype NOT IN ('pg_catalog.trigger'::pg_catalog.regtype,"
    " 'pg_catalog.event_trigger'::pg_catalog.regtype)";

// Schema, name, volatile?, built in?: of a function `f` in schema `fn`.
#define PGSTEER_CALLEE " fn.nspname, f.proname, f.provolatile = 'v', f.oid < 16384"
#define PGSTEER_JOIN_CALLEE(oid)                 \
    " JOIN pg_catalog.pg_proc f ON f.oid = " oid \
    " JOIN pg_catalog.pg_namespace fn ON fn.oid = f.pronamespace"

// An aggregate is IMMUTABLE whatever its support functions are.
constexpr std::string_view kAggregatesSql =
    "SELECT n.nspname, p.proname," PGSTEER_CALLEE
    " FROM pg_catalog.pg_aggregate a JOIN pg_catalog.pg_proc p ON p.oid = a.aggfnoid::oid"
    " JOIN pg_catalog.pg_namespace n ON n.oid = p.pronamespace"
    " CROSS JOIN LATERAL pg_catalog.unnest(ARRAY[a.aggtransfn, a.aggfinalfn, a.aggcombinefn,"
    " a.aggserialfn, a.aggdeserialfn, a.aggmtransfn, a.aggminvtransfn, a.aggmfinalfn]::oid[]) "
    "s" PGSTEER_JOIN_CALLEE("s") " WHERE p.oid >= 16384";

constexpr std::string_view kOperatorsSql =
    "SELECT n.nspname, o.oprname," PGSTEER_CALLEE
    " FROM pg_catalog.pg_operator o JOIN pg_catalog.pg_namespace n ON n.oid = "
    "o.oprnamespace" PGSTEER_JOIN_CALLEE("o.oprcode::oid") " WHERE o.oid >= 16384";

constexpr std::string_view kTypesSql =
    "SELECT n.nspname, t.typname FROM pg_catalog.pg_type t"
    " JOIN pg_catalog.pg_namespace n ON n.oid = t.typnamespace"
    " WHERE t.oid >= 16384 AND t.typcategory <> 'A' AND t.typisdefined"
    " AND n.nspname !~ '^pg_(toast|temp_)'";

// Also the parents of what cannot be read on a standby, and of what has triggers.
constexpr std::string_view kRelationsSql =
    "WITH RECURSIVE special(oid, kind) AS ("
    " SELECT c.oid, CASE WHEN c.relkind = 'S' THEN 's' WHEN c.relkind = 'f' THEN 'f' ELSE 'u' END"
    " FROM pg_catalog.pg_class c WHERE c.relpersistence <> 't' AND (c.relkind IN ('S', 'f')"
    " OR (c.relpersistence = 'u' AND c.relkind IN ('r', 'p', 'm')))"
    " UNION SELECT i.inhparent, s.kind FROM special s"
    " JOIN pg_catalog.pg_inherits i ON i.inhrelid = s.oid),"
    " triggered(oid) AS (SELECT t.tgrelid FROM pg_catalog.pg_trigger t"
    " WHERE NOT t.tgisinternal AND t.tgenabled <> 'D'"
    " UNION SELECT i.inhparent FROM triggered t"
    " JOIN pg_catalog.pg_inherits i ON i.inhrelid = t.oid)"
    " SELECT n.nspname, c.relname, s.kind, EXISTS (SELECT FROM triggered t WHERE t.oid = c.oid)"
    " FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace"
    " LEFT JOIN special s ON s.oid = c.oid"
    " WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f', 'S') AND c.relpersistence <> 't'"
    " AND n.nspname !~ '^pg_(toast|temp_)'";

// What is put together from parse trees: the server opens the relations that these name, as they
// are now, not as this snapshot has them. One that is dropped or locked meanwhile fails the whole
// query. Under this search_path every name that is not built in comes out qualified.
struct Definitions {
    std::string_view id;       // of an object, as a column of `from`
    std::string_view columns;  // schema and name
    std::string_view sql;      // the definition
    std::string_view from;
    std::vector<CatalogFacts::Definition> CatalogFacts::*taken;

    [[nodiscard]] std::string select(std::string_view what) const {
        return fmt::format("SELECT {}::text, {}, {} FROM {}", id, columns, what, from);
    }
};

constexpr Definitions kDefinitions[] = {
    {"c.oid", "n.nspname, c.relname", "pg_catalog.pg_get_viewdef(c.oid)",
     "pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace"
     " WHERE c.relkind = 'v' AND c.oid >= 16384 AND c.relpersistence <> 't'",
     &CatalogFacts::views},
    {"p.oid", "n.nspname, c.relname", "'SELECT ' || pg_catalog.pg_get_expr(p.polqual, p.polrelid)",
     "pg_catalog.pg_policy p JOIN pg_catalog.pg_class c ON c.oid = p.polrelid"
     " JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace"
     " WHERE c.relrowsecurity AND p.polqual IS NOT NULL AND p.polcmd IN ('r', '*')",
     &CatalogFacts::policies},
    {"k.oid", "n.nspname, t.typname", "'SELECT ' || pg_catalog.pg_get_expr(k.conbin, 0)",
     "pg_catalog.pg_constraint k JOIN pg_catalog.pg_type t ON t.oid = k.contypid"
     " JOIN pg_catalog.pg_namespace n ON n.oid = t.typnamespace"
     " WHERE k.contypid <> 0 AND k.contype = 'c' AND k.oid >= 16384",
     &CatalogFacts::domains},
    // What is not in prosrc: BEGIN ATOMIC, and RETURN.
    {"p.oid", "n.nspname, p.proname",
     "COALESCE(pg_catalog.substring(pg_catalog.pg_get_functiondef(p.oid),"
     " E'\n((?:BEGIN ATOMIC|RETURN ).*)'), 'nothing')",
     "pg_catalog.pg_proc p JOIN pg_catalog.pg_namespace n ON n.oid = p.pronamespace"
     " JOIN pg_catalog.pg_language l ON l.oid = p.prolang WHERE p.oid >= 16384"
     " AND p.prosrc = '' AND l.lanname = 'sql' AND p.prokind IN ('f', 'p') AND n.nspname !~ '^pg_temp_'"
     " AND NOT EXISTS (SELECT FROM pg_catalog.pg_depend d WHERE d.objid = p.oid"
     " AND d.classid = 'pg_catalog.pg_proc'::pg_catalog.regclass AND d.deptype = 'e')",
     &CatalogFacts::sql_bodies},
};

// Of the functions below types only those that are not built in can surprise; of casts any.
constexpr std::string_view kImplicitSql =
    "SELECT 'cast to ' || c.casttarget::pg_catalog.regtype::text," PGSTEER_CALLEE
    " FROM pg_catalog.pg_cast c" PGSTEER_JOIN_CALLEE("c.castfunc")
    " WHERE c.oid >= 16384 AND (f.provolatile = 'v' OR f.oid < 16384)"
    " UNION ALL SELECT 'type ' || t.oid::pg_catalog.regtype::text," PGSTEER_CALLEE
    " FROM pg_catalog.pg_type t LEFT JOIN pg_catalog.pg_range r ON r.rngtypid = t.oid"
    " CROSS JOIN LATERAL pg_catalog.unnest(ARRAY[t.typinput, t.typoutput, t.typreceive, t.typsend,"
    " t.typmodin, t.typmodout, r.rngcanonical, r.rngsubdiff]::oid[]) s"
    PGSTEER_JOIN_CALLEE("s")
    " WHERE t.oid >= 16384 AND f.oid >= 16384 AND f.provolatile = 'v'"
    " UNION ALL SELECT 'comparisons of ' || p.amproclefttype::pg_catalog.regtype::text," PGSTEER_CALLEE
    " FROM pg_catalog.pg_amproc p JOIN pg_catalog.pg_opfamily y ON y.oid = p.amprocfamily"
    " JOIN pg_catalog.pg_am a ON a.oid = y.opfmethod AND a.amname IN ('btree', 'hash')"
    PGSTEER_JOIN_CALLEE("p.amproc::oid")
    " WHERE p.oid >= 16384 AND f.oid >= 16384 AND f.provolatile = 'v'"
    " UNION ALL SELECT 'comparisons of ' || m.amoplefttype::pg_catalog.regtype::text," PGSTEER_CALLEE
    " FROM pg_catalog.pg_amop m JOIN pg_catalog.pg_am a ON a.oid = m.amopmethod"
    " AND a.amname IN ('btree', 'hash')"
    " JOIN pg_catalog.pg_operator o ON o.oid = m.amopopr"
    PGSTEER_JOIN_CALLEE("o.oprcode::oid")
    " WHERE m.oid >= 16384 AND f.oid >= 16384 AND f.provolatile = 'v'";

constexpr std::string_view kRoleSettingsSql =
    "SELECT r.rolname, s.setdatabase <> 0, v"
    " FROM pg_catalog.pg_db_role_setting s"
    " LEFT JOIN pg_catalog.pg_roles r ON r.oid = s.setrole"
    " CROSS JOIN LATERAL pg_catalog.unnest(s.setconfig) v"
    " WHERE (s.setrole = 0 OR r.rolname IS NOT NULL) AND s.setdatabase IN (0,"
    " (SELECT d.oid FROM pg_catalog.pg_database d"
    " WHERE d.datname = pg_catalog.current_database()))"
    " AND (v LIKE 'search\\_path=%' OR v LIKE 'default\\_transaction\\_isolation=%'"
    " OR v LIKE 'default\\_transaction\\_read\\_only=%'"
    " OR v LIKE 'role=%')";

#undef PGSTEER_CALLEE
#undef PGSTEER_JOIN_CALLEE

CatalogFacts::Callee callee(const Row& row, std::size_t first) {
    return {text(row, first), text(row, first + 1), is_true(row, first + 2),
            is_true(row, first + 3)};
}

// What the sources mean to sessions of other users: the health user's own settings say nothing.
std::optional<std::string> server_setting(const PgRows& answer, std::string_view name) {
    for (const Row& row : answer.rows) {
        if (text(row, 0) != name) continue;
        const std::string source = text(row, 2);
        if (source == "default" || source == "configuration file" || source == "command line" ||
            source == "environment variable")
            return text(row, 1);
    }
    return std::nullopt;
}

void take_setting(const Row& row, CatalogFacts& facts) {
    const std::string entry = text(row, 2);
    const auto equals = entry.find('=');
    facts.settings.push_back(
        {text(row, 0), is_true(row, 1), entry.substr(0, equals), entry.substr(equals + 1)});
}

void take_relation(const Row& row, CatalogFacts& facts) {
    using Kind = CatalogFacts::Relation::Kind;
    const std::string kind = text(row, 2);
    facts.relations.push_back({text(row, 0), text(row, 1),
                               kind == "s"   ? Kind::sequence
                               : kind == "f" ? Kind::foreign_table
                               : kind == "u" ? Kind::unlogged_table
                                             : Kind::ordinary,
                               is_true(row, 3)});
}

// A definition that could not be read is no SQL: what depends on it runs on the primary.
CatalogFacts::Definition definition(const Row& row) {
    const std::string sql = text(row, 3);
    return {text(row, 1), text(row, 2), sql.empty() ? "definition cannot be read" : sql};
}

struct Section {
    std::string_view sql;
    void (*take)(const Row&, CatalogFacts&);
};

constexpr Section kSections[] = {
    {kFunctionsSql,
     [](const Row& row, CatalogFacts& facts) {
         facts.functions.push_back(
             {text(row, 0), text(row, 1), is_true(row, 2), is_true(row, 3), text(row, 4)});
     }},
    {kAggregatesSql,
     [](const Row& row, CatalogFacts& facts) {
         facts.aggregates.push_back({text(row, 0), text(row, 1), callee(row, 2)});
     }},
    {kOperatorsSql,
     [](const Row& row, CatalogFacts& facts) {
         facts.operators.push_back({text(row, 0), text(row, 1), callee(row, 2)});
     }},
    {kTypesSql,
     [](const Row& row, CatalogFacts& facts) {
         facts.types.push_back({text(row, 0), text(row, 1)});
     }},
    {kRelationsSql, take_relation},
    {kImplicitSql,
     [](const Row& row, CatalogFacts& facts) {
         facts.implicit.push_back({text(row, 0), callee(row, 1)});
     }},
    {kRoleSettingsSql, take_setting},
};

PgError refused(std::string text) { return {PgError::Kind::rejected, {}, std::move(text)}; }

// All at once; if that fails, in parts, so that an object which has gone, or is locked, costs
// nothing but itself. A lock is waited for but once. (Both lambdas outlive the coroutines that they
// start.)
asio::awaitable<PgError> read_definitions(PgClient& client,
                                          const Definitions& definitions,
                                          TimePoint deadline,
                                          CatalogFacts& facts,
                                          std::vector<std::string>& unreadable) {
    auto& taken = facts.*definitions.taken;
    const auto read = [&](std::string_view lock_timeout,
                          std::string condition) -> asio::awaitable<PgRows> {
        co_return co_await client.query(
            fmt::format("SAVEPOINT part; SET LOCAL lock_timeout TO '{}'; {}{}; RELEASE part",
                        lock_timeout, definitions.select(definitions.sql), condition),
            deadline);
    };
    const auto whole = co_await read("100ms", "");
    for (const Row& row : whole.rows)
        if (!whole.error) taken.push_back(definition(row));
    if (whole.error.kind != PgError::Kind::rejected) co_return whole.error;

    const auto names = co_await client.query(
        "ROLLBACK TO part; " + definitions.select("NULL") + " ORDER BY 1", deadline);
    if (names.error) co_return names.error;
    co_return co_await read_in_parts(
        names.rows.size(),
        [&](std::size_t first, std::size_t count) -> asio::awaitable<PgRows> {
            std::string ids;
            for (std::size_t i = first; i < first + count; ++i)
                ids += (ids.empty() ? "" : ",") + text(names.rows[i], 0);
            auto rows = co_await read("1ms", fmt::format(" AND {} IN ({})", definitions.id, ids));
            if (rows.error.kind == PgError::Kind::rejected) {
                const auto back = co_await client.query("ROLLBACK TO part", deadline);
                if (back.error) rows.error = back.error;
            } else {
                for (const Row& row : rows.rows) taken.push_back(definition(row));
            }
            co_return rows;
        },
        [&](std::size_t index) {
            taken.push_back(definition(names.rows[index]));
            unreadable.push_back(text(names.rows[index], 0));
        });
}

}  // namespace

asio::awaitable<CatalogAnswer> look_at_catalog(
    asio::any_io_executor executor,
    conf::ServerConfig server,
    conf::HealthConfig health,
    std::string database,
    std::string known_fingerprint,
    std::shared_ptr<const routing::FunctionOverrides> overrides,
    TimePoint deadline) {
    CatalogAnswer answer;
    PgClient client{executor};
    answer.error = co_await connect_to_catalog(client, executor, std::move(server),
                                               std::move(health), std::move(database), deadline);
    if (answer.error) co_return answer;

    const auto settings = co_await client.query(std::string{kSettingsSql}, deadline);
    if ((answer.error = settings.error)) co_return answer;
    answer.error = (co_await client.query(std::string{kBeginSql}, deadline)).error;
    if (answer.error) co_return answer;
    const auto standby = co_await client.query(std::string{kIsStandbySql}, deadline);
    if ((answer.error = standby.error)) co_return answer;
    if (standby.rows.size() != 1 || is_true(standby.rows.front(), 0)) {
        answer.error = refused("the server is not a primary");
        co_return answer;
    }
    const auto versions = co_await client.query(std::string{kFingerprintSql}, deadline);
    if ((answer.error = versions.error)) co_return answer;
    CatalogFacts facts;
    facts.default_search_path = server_setting(settings, "search_path");
    facts.default_isolation = server_setting(settings, "default_transaction_isolation");
    facts.default_read_only = server_setting(settings, "default_transaction_read_only");
    answer.fingerprint = versions.rows.size() == 1 ? text(versions.rows.front(), 0) : "";
    answer.fingerprint += " | " + facts.default_search_path.value_or("?") + " | " +
                          facts.default_isolation.value_or("?") + " | " +
                          facts.default_read_only.value_or("?");
    if (answer.fingerprint == known_fingerprint) co_return answer;

    for (const Section& section : kSections) {
        const auto rows = co_await client.query(std::string{section.sql}, deadline);
        if ((answer.error = rows.error)) co_return answer;
        for (const Row& row : rows.rows) section.take(row, facts);
    }
    // Last, since the relations that are opened stay locked until the transaction ends.
    for (const Definitions& definitions : kDefinitions) {
        answer.error =
            co_await read_definitions(client, definitions, deadline, facts, answer.unreadable);
        if (answer.error) co_return answer;
    }
    answer.error = co_await read_bodies(client, *overrides, deadline, facts);
    if (answer.error) co_return answer;
    client.close();
    answer.catalog = routing::build_catalog(std::move(facts), std::move(overrides));
    co_return answer;
}

std::shared_ptr<const routing::FunctionOverrides> overrides_of(const conf::RoutingConfig& routing) {
    return std::make_shared<const routing::FunctionOverrides>(routing.read_only_functions,
                                                              routing.primary_functions);
}

namespace {

struct Errand {
    const conf::Config& config;
    const std::string& database;
    CatalogAnswer answer;
};

asio::awaitable<void> run_errand(asio::any_io_executor executor, Errand& errand) {
    const auto overrides = overrides_of(errand.config.routing);
    for (const auto& server : errand.config.servers) {
        if (server.role == conf::ServerRole::replica) continue;
        errand.answer =
            co_await look_at_catalog(executor, server, errand.config.health, errand.database, {},
                                     overrides, Clock::now() + 30s);
        if (errand.answer.catalog) co_return;
    }
}

void* do_errand(void* argument) {
    auto& errand = *static_cast<Errand*>(argument);
    asio::io_context io{1};
    asio::co_spawn(io, run_errand(io.get_executor(), errand),
                   [&](const std::exception_ptr& failure) {
                       if (failure) errand.answer.error = refused("unexpected failure");
                   });
    io.run();
    return nullptr;
}

}  // namespace

CatalogAnswer load_catalog_now(const conf::Config& config, const std::string& database) {
    Errand errand{config, database, {}};
    errand.answer.error = refused("no server of the configuration is a primary");
    pthread_attr_t attributes;
    pthread_attr_init(&attributes);
    pthread_attr_setstacksize(&attributes, routing::kParserStackBytes);
    pthread_t thread{};
    const bool started = pthread_create(&thread, &attributes, do_errand, &errand) == 0;
    pthread_attr_destroy(&attributes);
    if (!started) throw std::runtime_error("cannot start a thread");
    pthread_join(thread, nullptr);
    return std::move(errand.answer);
}

}  // namespace pgsteer::health
