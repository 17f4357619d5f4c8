// What PostgreSQL does with the names of prepared statements, message by message, and nothing else:
// a model to hold our own book-keeping against. Each rule was seen on a server of version 15.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace pgsteer::proxy::testing_support {

// Few, so that scripts meet them again; the last two are the same when they are cut.
inline const std::array<std::string, 5> kNames{"", "a", "b", std::string(63, 'n') + "1",
                                               std::string(63, 'n') + "23"};

// What the environment says, for longer runs; `otherwise`.
inline std::uint32_t set_or(const char* name, std::uint32_t otherwise) {
    const char* const set = std::getenv(name);
    return set != nullptr ? static_cast<std::uint32_t>(std::strtoul(set, nullptr, 10)) : otherwise;
}

class NamesServer {
public:
    using Names = std::map<std::string, int>;  // text by name; texts are numbers from 1

    // One statement of a Query, or what an Execute runs.
    struct Step {
        enum class What : std::uint8_t { select, prepare, deallocate, deallocate_all };
        What what = What::select;
        std::string name;
        int text = 0;
    };
    struct Message {
        enum class Kind : std::uint8_t { parse, bind, close, execute, query, call, sync };
        Kind kind{};
        std::string name;
        int text = 0;                         // of parse
        std::vector<Step> steps;              // of execute (one) and query
        std::optional<std::size_t> fails_at;  // an error of another kind; of query: at this step
    };
    struct Answer {
        enum class What : std::uint8_t { complete, error, ready };
        What what{};
        std::uint16_t step = 0;
        std::string sqlstate = {};
        int text = 0;  // of bind: what was bound
        friend bool operator==(const Answer&, const Answer&) = default;
    };

    // on_answer(answer) for each, when what it answers has been done. Skipped: none.
    template <class OnAnswer>
    void run(const Message& message, OnAnswer&& on_answer);
    std::vector<Answer> run(const Message& message) {
        std::vector<Answer> answers;
        run(message, [&](const Answer& answer) { answers.push_back(answer); });
        return answers;
    }

    [[nodiscard]] const Names& names() const { return names_; }
    [[nodiscard]] int text_of(std::string_view name) const {
        const auto found = names_.find(cut(name));
        return found == names_.end() ? 0 : found->second;
    }
    [[nodiscard]] bool is_skipping() const { return is_skipping_; }

private:
    static constexpr const char* kOther = "XX000";

    static std::string cut(std::string_view name) { return std::string{name.substr(0, 63)}; }
    // The SQLSTATE of an error; empty: it is done.
    std::string define(std::string_view name, int text) {
        if (!name.empty() && text_of(name) != 0) return "42P05";
        names_[cut(name)] = text;
        return {};
    }
    std::string run_step(const Step& step);
    std::string run_extended(const Message& message, Answer& answer);

    Names names_;
    bool is_skipping_ = false;
};

inline std::string NamesServer::run_step(const Step& step) {
    switch (step.what) {
        case Step::What::select:
            return {};
        case Step::What::prepare:
            return define(step.name, step.text);
        case Step::What::deallocate:
            return names_.erase(cut(step.name)) == 0 ? "26000" : "";
        case Step::What::deallocate_all:
            std::erase_if(names_, [](const auto& entry) { return !entry.first.empty(); });
            return {};
    }
    return {};
}

inline std::string NamesServer::run_extended(const Message& message, Answer& answer) {
    using Kind = Message::Kind;
    if (message.kind == Kind::parse && message.name.empty()) names_.erase("");
    if (message.fails_at) return kOther;
    switch (message.kind) {
        case Kind::parse:
            return define(message.name, message.text);
        case Kind::bind:
            answer.text = text_of(message.name);
            return answer.text == 0 ? "26000" : "";
        case Kind::close:
            names_.erase(cut(message.name));
            return {};
        default:
            return message.steps.empty() ? "" : run_step(message.steps.front());
    }
}

template <class OnAnswer>
void NamesServer::run(const Message& message, OnAnswer&& on_answer) {
    using Kind = Message::Kind;
    using What = Answer::What;
    if (message.kind == Kind::sync) {
        is_skipping_ = false;
        return on_answer(Answer{.what = What::ready});
    }
    if (is_skipping_) return;
    if (message.kind != Kind::query && message.kind != Kind::call) {
        Answer answer;
        answer.sqlstate = run_extended(message, answer);
        answer.what = answer.sqlstate.empty() ? What::complete : What::error;
        is_skipping_ = answer.what == What::error;
        return on_answer(answer);
    }
    if (message.kind == Kind::query) names_.erase("");
    if (message.kind == Kind::call && message.fails_at)
        on_answer(Answer{.what = What::error, .sqlstate = kOther});
    // EmptyQueryResponse.
    if (message.kind == Kind::query && message.steps.empty()) on_answer(Answer{});
    for (std::size_t i = 0; i < message.steps.size(); ++i) {
        const auto step = static_cast<std::uint16_t>(i);
        const auto sqlstate = message.fails_at == i ? kOther : run_step(message.steps[i]);
        on_answer(Answer{.what = sqlstate.empty() ? What::complete : What::error,
                         .step = step,
                         .sqlstate = sqlstate});
        if (!sqlstate.empty()) break;
    }
    on_answer(Answer{.what = What::ready});
}

}  // namespace pgsteer::proxy::testing_support
