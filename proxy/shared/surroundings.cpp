#include "proxy/shared/surroundings.hpp"

#include <utility>

namespace pgsteer::proxy {

Surroundings::Surroundings(Lent lent)
    : lent_{std::move(lent)},
      topology_{lent_.facts.topology.load()},
      catalogs_changed_{lent_.executor},
      statements_{lent_.facts.hash_secret},
      freshness_{lent_.facts.learnt, lent_.facts.writes, lent_.facts.primary_reads},
      sessions_{lent_.worker, lent_.facts.session_numbers},
      random_{std::random_device{}()} {}

const routing::Topology& Surroundings::topology() {
    const auto& store = lent_.facts.topology;
    if (store.version() != topology_->version) topology_ = store.load();
    return *topology_;
}

}  // namespace pgsteer::proxy
