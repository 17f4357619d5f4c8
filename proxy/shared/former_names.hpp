// Names that sessions use, of things that belong to the small objects of Surroundings. A session
// that asks those, and its own Generation, needs none of them: they go when none is used.
#pragma once

#include "proxy/shared/generation.hpp"
#include "proxy/shared/learnt_parameters.hpp"
#include "proxy/shared/sessions.hpp"
#include "proxy/shared/shared_freshness.hpp"
#include "proxy/shared/statements.hpp"
#include "proxy/wire/backend.hpp"

#include <string>
#include <string_view>

namespace pgsteer::proxy {

template <class Surroundings>
class FormerNames {
public:
    [[nodiscard]] const conf::Config& config() const { return *all().generation()->config; }
    [[nodiscard]] UserSource& users() { return *all().generation()->users; }
    [[nodiscard]] auto& mutable_counters() { return all().counters(); }

    [[nodiscard]] auto classify(std::string_view sql) { return all().statements().classify(sql); }
    [[nodiscard]] auto catalog_context(const routing::CatalogView& view) {
        return all().statements().context(view);
    }
    [[nodiscard]] auto& judged_statements() { return all().statements().judged(); }

    [[nodiscard]] auto& learnt() { return all().freshness().learnt(); }
    [[nodiscard]] auto learnt_positions(const routing::Topology& topology) {
        return all().freshness().positions(topology);
    }
    [[nodiscard]] auto& verification(routing::ServerId replica) {
        return all().freshness().verification(replica);
    }
    [[nodiscard]] auto& writes() { return all().freshness().writes(); }
    [[nodiscard]] bool may_sample(routing::TimePoint now) {
        return all().freshness().may_sample(now, config().routing.sample_interval);
    }
    [[nodiscard]] auto& primary_reads() { return all().freshness().primary_reads(); }

    [[nodiscard]] const ParameterMap* known_parameters(const std::string& key) {
        return all().parameters().find(key);
    }
    void remember_parameters(const std::string& key, const ParameterMap& parameters) {
        all().parameters().remember(key, parameters);
    }

    [[nodiscard]] wire::BackendKeyData register_session(Sessions::Member& session) {
        return {all().sessions().add(session), static_cast<std::uint32_t>(all().random())};
    }
    void unregister_session(const Sessions::Member& session) {
        all().clients().gone();
        all().sessions().remove(session);
    }
    [[nodiscard]] bool too_many_clients() {
        return all().clients().is_above(config().listen.max_clients);
    }
    [[nodiscard]] bool draining() { return all().sessions().is_draining(); }

private:
    Surroundings& all() { return static_cast<Surroundings&>(*this); }
    const Surroundings& all() const { return static_cast<const Surroundings&>(*this); }
};

}  // namespace pgsteer::proxy
