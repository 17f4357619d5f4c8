#include "proxy/shared/learnt_parameters.hpp"

namespace pgsteer::proxy {

void LearntParameters::remember(const std::string& key, const ReportedParameters& parameters) {
    constexpr std::size_t kEntryBytes = 100;
    std::size_t bytes = 0;
    for (const auto& [name, value] : parameters.all()) bytes += name.size() + value.size() + kEntryBytes;
    known_.put(key, parameters, bytes);
}

}  // namespace pgsteer::proxy
