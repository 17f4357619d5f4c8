#include "health/metrics.hpp"

#include "health/metric_families.hpp"
#include "health/node_status.hpp"
#include "health/process_stats.hpp"
#include "health/topology_store.hpp"

#include <prometheus/metric_family.h>
#include <prometheus/text_serializer.h>

#include <algorithm>
#include <array>
#include <initializer_list>
#include <limits>
#include <map>
#include <sstream>
#include <utility>

namespace pgsteer::health {

namespace {

using prometheus::ClientMetric;
using prometheus::MetricFamily;
using prometheus::MetricType;
using Labels = std::vector<ClientMetric::Label>;
using routing::ServerId;

MetricType type_of(std::string_view type) {
    if (type == "counter") return MetricType::Counter;
    return type == "histogram" ? MetricType::Histogram : MetricType::Gauge;
}

// The families of one scrape, filled in any order.
class Scrape {
public:
    Scrape() : families_(kFamilies.size()) {
        for (std::size_t i = 0; i < kFamilies.size(); ++i) {
            families_[i].name = kFamilies[i].name;
            families_[i].help = kFamilies[i].help;
            families_[i].type = type_of(kFamilies[i].type);
        }
    }

    template <class Number>
    void add(Family family, Number value, Labels labels = {}) {
        auto& metric = append(family, std::move(labels));
        if (families_[static_cast<std::size_t>(family)].type == MetricType::Counter)
            metric.counter.value = static_cast<double>(value);
        else
            metric.gauge.value = static_cast<double>(value);
    }

    ClientMetric& append(Family family, Labels labels) {
        auto& metric = families_[static_cast<std::size_t>(family)].metric.emplace_back();
        metric.label = std::move(labels);
        return metric;
    }

    // Without families that have nothing to say.
    [[nodiscard]] std::string text() {
        std::erase_if(families_, [](const auto& family) { return family.metric.empty(); });
        std::ostringstream out;
        prometheus::TextSerializer{}.Serialize(out, families_);
        return std::move(out).str();
    }

private:
    std::vector<MetricFamily> families_;
};

// All workers' numbers of one database and server.
struct Sum {
    std::array<std::uint64_t, routing::kReasonCount> requests{};
    std::array<std::uint64_t, routing::kReasonCount> replica_requests{};
    std::array<std::uint64_t, LatencyHistogram::kSteps> buckets{};
    std::uint64_t sum_us = 0;
    std::uint64_t failed = 0;
    std::uint64_t lost = 0;
    std::uint64_t retried = 0;

    void add(const ServerCounters& counters) {
        for (std::size_t i = 0; i < requests.size(); ++i) {
            requests[i] += counters.requests[i].get();
            replica_requests[i] += counters.replica_requests[i].get();
        }
        for (std::size_t i = 0; i < buckets.size(); ++i)
            buckets[i] += counters.latency.buckets[i].get();
        sum_us += counters.latency.sum_us.get();
        failed += counters.failed.get();
        lost += counters.lost.get();
        retried += counters.retried.get();
    }
};

using Sums = std::map<std::pair<std::string, ServerId>, Sum>;  // by database and server

// Of the servers that are configured.
Sums sum_up(const Sources& sources) {
    Sums sums;
    for (const WorkerCounters* worker : sources.workers)
        for (const auto& database : worker->databases.all())
            for (const auto server : sources.servers.ids()) {
                auto& sum = sums[{database->name, server}];
                if (const auto* counters = database->servers.find(server)) sum.add(*counters);
            }
    return sums;
}

void add_latency(Scrape& scrape, const Sum& sum, Labels labels) {
    auto& histogram = scrape.append(Family::request_duration, std::move(labels)).histogram;
    for (std::size_t step = 0; step < sum.buckets.size(); ++step) {
        histogram.sample_count += sum.buckets[step];
        const bool is_last = step + 1 == sum.buckets.size();
        histogram.bucket.push_back(
            {histogram.sample_count, is_last ? std::numeric_limits<double>::infinity()
                                             : LatencyHistogram::upper_bound_seconds(step)});
    }
    histogram.sample_sum = static_cast<double>(sum.sum_us) / 1e6;
}

void add_requests(Scrape& scrape, const Sources& sources) {
    for (const auto& [key, sum] : sum_up(sources)) {
        const auto& [database, server] = key;
        const Labels labels{{"database", database}, {"server", sources.servers[server].name}};
        const auto add_by_reason = [&](const auto& counts, const char* role) {
            for (std::size_t i = 0; i < counts.size(); ++i) {
                if (counts[i] == 0) continue;  // most reasons never occur
                Labels all = labels;
                all.push_back({"role", role});
                all.push_back(
                    {"reason", std::string{routing::name(static_cast<routing::Reason>(i))}});
                scrape.add(Family::requests, counts[i], std::move(all));
            }
        };
        add_by_reason(sum.requests, "primary");
        add_by_reason(sum.replica_requests, "replica");
        add_latency(scrape, sum, labels);
        scrape.add(Family::requests_failed, sum.failed, labels);
        scrape.add(Family::requests_lost, sum.lost, labels);
        scrape.add(Family::requests_retried, sum.retried, labels);
    }
}

template <class Get>
std::uint64_t total(const Sources& sources, Get get) {
    std::uint64_t sum = 0;
    for (const WorkerCounters* worker : sources.workers) sum += get(*worker).get();
    return sum;
}

void add_clients(Scrape& scrape, const Sources& sources) {
    const auto sum = [&](Count WorkerCounters::*member) {
        return total(sources, [member](const WorkerCounters& worker) -> const Count& {
            return worker.*member;
        });
    };
    scrape.add(Family::clients, sum(&WorkerCounters::clients));
    scrape.add(Family::clients_max, sources.config->listen.max_clients);
    scrape.add(Family::clients_accepted, sum(&WorkerCounters::clients_accepted));
    scrape.add(Family::logins_failed, sum(&WorkerCounters::logins_failed));
    scrape.add(Family::client_bytes, sum(&WorkerCounters::client_bytes_in), {{"direction", "in"}});
    scrape.add(Family::client_bytes, sum(&WorkerCounters::client_bytes_out),
               {{"direction", "out"}});
    scrape.add(Family::cancels, sum(&WorkerCounters::cancels));
    scrape.add(Family::verifications, sum(&WorkerCounters::verifications_passed),
               {{"result", "passed"}});
    scrape.add(Family::verifications, sum(&WorkerCounters::verifications_behind),
               {{"result", "behind"}});
    scrape.add(Family::pool_waiting, sum(&WorkerCounters::pool_waiting));
    scrape.add(Family::pool_timeouts, sum(&WorkerCounters::pool_timeouts));
    scrape.add(Family::cache_hits, sum(&WorkerCounters::cache_hits));
    scrape.add(Family::cache_misses, sum(&WorkerCounters::cache_misses));
    scrape.add(Family::cache_evictions, sum(&WorkerCounters::cache_evictions));
    scrape.add(Family::cache_bytes, sum(&WorkerCounters::cache_bytes));
}

void add_errors_and_pins(Scrape& scrape, const Sources& sources) {
    for (std::size_t i = 0; i < sources.error_names.size() && i < kErrorKinds; ++i) {
        const auto count =
            total(sources, [i](const auto& worker) -> const Count& { return worker.errors[i]; });
        const std::string& full_name = sources.error_names[i];
        const auto space = full_name.find(' ');
        if (count == 0 || full_name.empty()) continue;
        scrape.add(Family::errors, count,
                   {{"sqlstate", full_name.substr(0, space)},
                    {"error", space == std::string::npos ? "" : full_name.substr(space + 1)}});
    }
    for (std::size_t i = 0; i < routing::kPinCount; ++i)
        scrape.add(
            Family::pins,
            total(sources, [i](const auto& worker) -> const Count& { return worker.pins[i]; }),
            {{"pin", std::string{routing::name(static_cast<routing::Pin>(i))}}});
}

void add_connections(Scrape& scrape, const Sources& sources) {
    for (const auto server : sources.servers.ids()) {
        const Labels labels{{"server", sources.servers[server].name}};
        const auto sum = [&](WorkerCounters::CountsById WorkerCounters::*member) {
            return total(sources, [member, server](const WorkerCounters& worker) -> const Count& {
                return (worker.*member)[server.index];
            });
        };
        scrape.add(Family::server_connections, sum(&WorkerCounters::server_connections), labels);
        scrape.add(Family::server_connections_opened,
                   sum(&WorkerCounters::server_connections_opened), labels);
        scrape.add(Family::server_connect_failures, sum(&WorkerCounters::server_connect_failures),
                   labels);
        scrape.add(Family::idle_connections_ended, sum(&WorkerCounters::idle_connections_ended),
                   labels);
        scrape.add(Family::connections_made_room, sum(&WorkerCounters::connections_made_room),
                   labels);
    }
}

using CountsByServer = std::array<std::size_t, ServerIds::kMost>;

void add_by_server(Scrape& scrape,
                   Family family,
                   const CountsByServer& counts,
                   const Sources& sources) {
    for (const auto server : sources.servers.ids())
        scrape.add(family, counts[server.index], {{"server", sources.servers[server].name}});
}

void add_refused_logins(Scrape& scrape, const Sources& sources) {
    if (!sources.refused_logins) return;
    CountsByServer counts{};
    for (const auto& login : known_refused_logins(sources)) ++counts[login.server.index];
    add_by_server(scrape, Family::refused_logins, counts, sources);
}

void add_unequal_settings(Scrape& scrape, const Sources& sources) {
    if (!sources.setting_differences) return;
    CountsByServer counts{};
    for (const auto& difference : sources.setting_differences())
        if (!difference.is_made_up) ++counts[difference.server.index];
    add_by_server(scrape, Family::unequal_settings, counts, sources);
}

void add_server(Scrape& scrape, const ServerReport& report) {
    const Labels labels{{"server", report.name}};
    const auto with = [&](const char* label, std::string_view value) {
        Labels all = labels;
        all.push_back({label, std::string{value}});
        return all;
    };
    using routing::Role;
    using routing::Status;
    for (const auto status :
         {Status::unknown, Status::healthy, Status::degraded, Status::unhealthy})
        scrape.add(Family::server_status, report.status == status, with("status", name(status)));
    for (const auto role : {Role::unknown, Role::primary, Role::replica})
        scrape.add(Family::server_role, report.role == role, with("role", name(role)));
    if (report.lag_seconds >= 0) scrape.add(Family::server_staleness, report.lag_seconds, labels);
    if (report.lag_bytes >= 0) scrape.add(Family::server_lag_bytes, report.lag_bytes, labels);
    scrape.add(Family::server_timeline, report.timeline, labels);
    if (report.last_check_age_seconds >= 0)
        scrape.add(Family::server_last_check, report.last_check_age_seconds, labels);
    scrape.add(Family::server_probes, report.probes_total, labels);
    scrape.add(Family::server_probe_failures, report.probe_failures_total, labels);
    scrape.add(Family::server_response_time, report.response_time_seconds, labels);
}

void add_health(Scrape& scrape, const Sources& sources) {
    if (sources.topology)
        scrape.add(Family::has_primary, sources.topology->load()->primary.has_value());
    if (!sources.checker) return;
    for (const ServerReport& report : sources.checker->report()) add_server(scrape, report);
    const auto counters = sources.checker->counters();
    scrape.add(Family::fast_rounds, counters.fast_rounds);
    scrape.add(Family::nudges, counters.nudges);
    scrape.add(Family::topology_changes, counters.topology_changes);
}

void add_catalogs(Scrape& scrape, const Sources& sources) {
    if (!sources.catalogs) return;
    for (const CatalogReport& report : sources.catalogs->report()) {
        const auto add = [&](const char* result, std::uint64_t count) {
            scrape.add(Family::catalog_loads, count,
                       {{"database", report.database}, {"result", result}});
        };
        add("loaded", report.loaded);
        add("unchanged", report.unchanged);
        add("failed", report.failed);
        const Labels labels{{"database", report.database}};
        if (report.age_seconds >= 0) scrape.add(Family::catalog_age, report.age_seconds, labels);
        scrape.add(Family::catalog_bytes, report.bytes, labels);
    }
}

void add_process(Scrape& scrape) {
    const auto stats = process_stats();
    scrape.add(Family::process_cpu, stats.cpu_seconds);
    scrape.add(Family::process_resident, stats.resident_bytes);
    scrape.add(Family::process_virtual, stats.virtual_bytes);
    scrape.add(Family::process_open_fds, stats.open_fds);
    scrape.add(Family::process_max_fds, stats.max_fds);
    scrape.add(Family::process_threads, stats.threads);
    scrape.add(Family::process_start_time, stats.start_time_seconds);
}

}  // namespace

std::vector<RefusedLogin> known_refused_logins(const Sources& sources) {
    if (!sources.refused_logins) return {};
    const auto& config = *sources.config;
    auto logins = sources.refused_logins();
    std::erase_if(logins, [&](const RefusedLogin& login) {
        const auto is_login = [&](const conf::AuthUser& user) { return user.name == login.user; };
        const auto is_database = [&](const conf::DatabaseConfig& database) {
            return database.name_there() == login.database;
        };
        return !login.is_known && !(std::ranges::any_of(config.auth.users, is_login) &&
                                    std::ranges::any_of(config.databases, is_database));
    });
    return logins;
}

struct Metrics::Impl {
    Sources sources;
};

Metrics::Metrics(Sources sources) : impl_{std::make_unique<Impl>(Impl{std::move(sources)})} {
    auto& own = impl_->sources;
    if (!own.servers.ids().empty() || own.config == nullptr) return;
    own.servers = ServerTable{{std::shared_ptr<void>{}, own.config}};  // outlives this
}
Metrics::~Metrics() = default;

const Sources& Metrics::sources() const { return impl_->sources; }

std::string Metrics::text() const {
    const Sources& sources = impl_->sources;
    Scrape scrape;
    scrape.add(Family::build_info, 1, {{"version", PGSTEER_VERSION}});
    scrape.add(Family::draining, sources.draining && sources.draining());
    add_requests(scrape, sources);
    add_clients(scrape, sources);
    add_errors_and_pins(scrape, sources);
    add_connections(scrape, sources);
    add_refused_logins(scrape, sources);
    add_unequal_settings(scrape, sources);
    add_health(scrape, sources);
    add_catalogs(scrape, sources);
    add_process(scrape);
    return scrape.text();
}

}  // namespace pgsteer::health
