#include "proxy/session/progress.hpp"

#include "proxy/wire/frontend.hpp"
#include "proxy/wire/message_types.hpp"

#include <algorithm>

namespace pgsteer::proxy {

namespace {

// Answers owed; more are not asked for before some have come.
constexpr std::size_t kMaxPipelined = 32 * 1024;
constexpr std::size_t kMaxKeptBytes = 1024 * 1024;  // of requests that may have to run elsewhere
constexpr std::chrono::milliseconds kPatienceInDoubt{50};

}  // namespace

bool Progress::is_copying_in() const {
    if (course_.requests.empty()) return false;
    const auto& lease = sides_[course_.requests.back().slot].lease;
    return lease && lease->replies.copy_open();
}

bool Progress::is_pipeline_full() const {
    const auto& requests = course_.requests;
    if (requests.empty()) return false;
    const auto& lease = sides_[requests.back().slot].lease;
    return (lease && lease->replies.entries().size() > kMaxPipelined) ||
           (requests.kept_bytes() > kMaxKeptBytes && requests.size() > 1);
}

bool Progress::follows_its_request() const {
    const auto& items = client_.batcher.batch().items;
    if (items.size() != 1 || course_.requests.empty() || course_.running_again) return false;
    const auto& side = sides_[course_.requests.back().slot];
    const auto type = items.front().type;
    return (type == wire::frontend::kSync || type == wire::frontend::kFlush) && side.lease &&
           !side.discarding;
}

bool Progress::waits_for_names() const {
    const auto& requests = course_.requests;
    return (requests.size() > 1 || (!requests.empty() && !requests.is_open())) && !is_copying_in();
}

// A request whose Sync is still to come has been answered when nothing more is owed to it.
bool Progress::is_answered() const {
    const auto& requests = course_.requests;
    if (course_.running_again || requests.size() > 1) return false;
    if (requests.empty()) return true;
    const auto& lease = sides_[requests.back().slot].lease;
    return requests.back().open && lease && lease->replies.empty();
}

awaitable<void> Progress::answered() const {
    bool asked = false;  // a request may be found to be open only while it is waited for
    while (!is_answered() && !client_.closing && client_.batcher.skipping() == Skipping::no &&
           !is_copying_in()) {
        if (!asked && course_.requests.is_open()) {
            ask_for_answers(course_.requests.back());
            asked = true;
        }
        co_await course_.changed.wait();
    }
}

void Progress::ask_for_answers(const Request& request) const {
    const auto& lease = sides_[request.slot].lease;
    if (!lease || lease->replies.empty()) return;
    wire::Buffer out;
    wire::encode_flush(out);
    lease->stream.write(wire::Bytes{out});
}

bool Progress::is_in_doubt() const {
    if (client_.closing || course_.requests.empty()) return false;
    const auto& lease = sides_[course_.requests.back().slot].lease;
    return lease && !lease->replies.copying() && lease->replies.in_doubt();
}

awaitable<void> Progress::doubt_settled() const {
    const auto end = routing::Clock::now() + kPatienceInDoubt;
    while (is_in_doubt() && routing::Clock::now() < end) {
        Timer timer{lodging_.around.executor(),
                    routing::Clock::now() + std::chrono::milliseconds{1}};
        co_await timer.async_wait(as_result);
    }
    if (!is_in_doubt()) co_return;
    auto& requests = course_.requests;
    requests.go_on(sides_[requests.back().slot].lease->replies.settle_as_ignored());
    if (requests.back().open && requests.back().failed) client_.batcher.skip(Skipping::for_server);
}

}  // namespace pgsteer::proxy
