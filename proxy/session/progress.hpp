// How far the requests in flight have got, and waiting for that.
#pragma once

#include "proxy/io/asio.hpp"
#include "proxy/session/client.hpp"
#include "proxy/session/course.hpp"
#include "proxy/session/lodging.hpp"
#include "proxy/session/sides.hpp"

namespace pgsteer::proxy {

// Changes nothing but what ask_for_answers() and doubt_settled() say. Worker-local.
class Progress {
public:
    Progress(const Lodging& lodging, Client& client, Course& course, Sides& sides)
        : lodging_{lodging}, client_{client}, course_{course}, sides_{sides} {}
    Progress(const Progress&) = delete;
    Progress& operator=(const Progress&) = delete;

    // A server waits for copy data: it accepts nothing else, whatever comes.
    [[nodiscard]] bool is_copying_in() const;
    // So much is owed that no more is asked for before some of it has come.
    [[nodiscard]] bool is_pipeline_full() const;
    // The batch, a Sync or Flush by itself, goes where that is which it ends, or asks for.
    [[nodiscard]] bool follows_its_request() const;
    // What a name means may depend on requests that are still in flight: what is skipped in them
    // has not changed it. Within one request it is skipped as well.
    [[nodiscard]] bool waits_for_names() const;

    // Until no request is in flight and none is being run again, or more of the client is needed
    // for that, or the session ends.
    awaitable<void> answered() const;
    // A server keeps its answers to what has no Sync yet until it is asked for them.
    void ask_for_answers(const Request& request) const;
    // Behind a copy that has failed, with Syncs between its data: a server that has read one of
    // these behind the error has answered it at once. If not, it skips what comes now.
    awaitable<void> doubt_settled() const;

private:
    [[nodiscard]] bool is_answered() const;
    [[nodiscard]] bool is_in_doubt() const;

    // All of them outlive it.
    const Lodging& lodging_;
    Client& client_;
    Course& course_;
    Sides& sides_;
};

}  // namespace pgsteer::proxy
