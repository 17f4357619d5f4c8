#include "health/metric_families.hpp"

namespace pgsteer::health {

std::span<const MetricHelp> metric_help() { return kFamilies; }

}  // namespace pgsteer::health
