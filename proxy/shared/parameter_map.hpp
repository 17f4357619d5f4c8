#pragma once

#include <functional>
#include <initializer_list>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <utility>

namespace pgsteer::proxy {

// As ParameterStatus reports them.
using ParameterMap = std::map<std::string, std::string, std::less<>>;

// What one server connection has reported, or one client was told. There are thousands that say the
// same: a copy is the same object, until one of them is changed. Worker-local.
class ReportedParameters {
public:
    ReportedParameters() = default;
    ReportedParameters(ParameterMap all) : all_{std::make_shared<ParameterMap>(std::move(all))} {}
    ReportedParameters(std::initializer_list<ParameterMap::value_type> all)
        : ReportedParameters{ParameterMap{all}} {}

    [[nodiscard]] const ParameterMap& all() const {
        static const ParameterMap kNone;
        return all_ ? *all_ : kNone;
    }
    // Null: nothing was said of it. Valid until the next change.
    [[nodiscard]] const std::string* find(std::string_view name) const {
        const auto found = all().find(name);
        return found == all().end() ? nullptr : &found->second;
    }
    // False: that is what was known.
    bool set(std::string_view name, std::string_view value);
    // One object from now on, if both say the same.
    void share(const ReportedParameters& other) {
        if (all_ != other.all_ && all() == other.all()) all_ = other.all_;
    }
    [[nodiscard]] bool is_shared_with(const ReportedParameters& other) const {
        return all_ == other.all_;
    }

private:
    std::shared_ptr<ParameterMap> all_;
};

inline bool ReportedParameters::set(std::string_view name, std::string_view value) {
    if (const auto* known = find(name); known != nullptr && *known == value) return false;
    if (all_.use_count() != 1) all_ = std::make_shared<ParameterMap>(all());
    all_->insert_or_assign(std::string{name}, std::string{value});
    return true;
}

}  // namespace pgsteer::proxy
