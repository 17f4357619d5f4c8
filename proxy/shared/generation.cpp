#include "proxy/shared/generation.hpp"

#include <stdexcept>
#include <utility>

namespace pgsteer::proxy {

Generations::Generations(std::shared_ptr<const conf::Config> config) {
    auto first = prepare(std::move(config));
    if (!first) throw std::invalid_argument{"too many servers"};
    publish(std::move(first));
}

GenerationPtr Generations::prepare(std::shared_ptr<const conf::Config> config) {
    auto servers = health::ServerTable::number(config, ids_);
    if (!servers) return nullptr;
    const auto before = current();
    auto next = std::make_shared<Generation>();
    next->number = before ? before->number + 1 : 1;
    next->servers = std::move(*servers);
    next->credentials = std::make_shared<auth::Credentials>(config->auth);
    if (before) next->credentials->inherit(*before->credentials);
    next->users = std::make_shared<ConfiguredUsers>(*next->credentials);
    next->budgets = before ? before->budgets : std::make_shared<Budgets>(config->pool.size);
    next->config = std::move(config);
    return next;
}

void Generations::publish(GenerationPtr generation) {
    const std::lock_guard lock{mutex_};
    generation->budgets->set_limit(generation->config->pool.size);
    current_ = std::move(generation);
}

GenerationPtr Generations::current() const {
    const std::lock_guard lock{mutex_};
    return current_;
}

}  // namespace pgsteer::proxy
