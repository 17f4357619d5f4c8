// The sessions of one worker, as it sees them.
#pragma once

#include "proxy/shared/session_numbers.hpp"
#include "proxy/wire/startup.hpp"
#include "routing/topology.hpp"

#include <cstdint>
#include <functional>
#include <memory>
#include <unordered_map>

namespace pgsteer::proxy {

struct SessionKind;

// Worker-local. A session adds itself when its client has logged in, and removes itself at its end,
// which may be while it is told of something.
class Sessions {
public:
    // What a worker tells a session.
    class Member {
    public:
        Member() = default;
        Member(const Member&) = delete;
        Member& operator=(const Member&) = delete;

        // Somebody asks to cancel what it does; nothing is to happen if the key is not its own.
        virtual void cancel_requested(std::uint32_t secret_key) = 0;
        virtual void servers_changed(const routing::Topology& topology) = 0;
        // The replica connection, if it is one of these, answers by settings that are no longer
        // those of the primary: the next request gets another one.
        virtual void outdate_replica(routing::ServerId server) = 0;
        virtual void outdate_replica(const SessionKind& kind) = 0;
        virtual void check_timeouts(routing::TimePoint now) = 0;  // query_timeout; every second
        // It waits for its client, and notices by itself when that has gone.
        [[nodiscard]] virtual bool is_reading() const = 0;
        virtual void look_for_client() = 0;  // and ends what it waits for if the client has gone
        virtual void drain() = 0;            // leave as soon as no transaction is open
        virtual void stop() = 0;             // leave at once
        [[nodiscard]] virtual std::uint32_t process_id() const = 0;  // as add() has said
        // It lives as long as this is held.
        virtual std::shared_ptr<Member> keep_alive() = 0;

    protected:
        ~Member() = default;
    };

    Sessions(std::uint16_t worker, SessionNumbers numbers) : worker_{worker}, numbers_{numbers} {}

    // The process id by which a CancelRequest finds it here.
    [[nodiscard]] std::uint32_t add(Member& session);
    void remove(const Member& session);
    [[nodiscard]] std::size_t size() const { return sessions_.size(); }

    // The worker whose session this request is for.
    [[nodiscard]] std::size_t owner(const wire::CancelRequest& request) const {
        return numbers_.owner(request.process_id).worker;
    }
    void cancel(const wire::CancelRequest& request);  // of one of these, or of none
    void for_each(const std::function<void(Member&)>& action);
    void look_for_clients();  // those that do not notice by themselves
    void drain();             // from now on
    [[nodiscard]] bool is_draining() const { return is_draining_; }

private:
    [[nodiscard]] std::uint32_t process_id(std::uint32_t number) const {
        return numbers_.process_id({worker_, number});
    }

    const std::uint16_t worker_;
    const SessionNumbers numbers_;
    std::unordered_map<std::uint32_t, Member*> sessions_;  // by their number
    std::uint32_t last_ = 0;
    bool is_draining_ = false;
};

}  // namespace pgsteer::proxy
