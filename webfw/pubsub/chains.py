"""Chains of messages on a Redis server: their ids, what is missing between two, and the scripts; no connection.

Every message names the one before it in its channel.  Who has seen ``a`` and is given ``c`` whose predecessor is ``b``
knows that ``b`` is missing, whatever took it: trimming, age, ``XDEL``, a server that came back with an older snapshot.
It is exact: no gap is missed, and none is told where nothing was lost.

A chain has a *life*: a random word, made when a channel begins or when Redis has forgotten it (``FLUSHALL``, a restart
without data, eviction).  It is part of each id, so that ids of different lives are never taken for one another.

An id is ``LIFE-MILLISECONDS-NUMBER`` of fixed width, so that ids of one life compare as text.  They never go back, even
if the server's clock does.  A chain begins with an id of number 0, which no message has.

What is kept, for each channel::

    PREFIX:last:CHANNEL            the newest id, for a day (or for the age of the history, if that is more)
    PREFIX:log:CHANNEL             the stream; field: life, value: predecessor and data
    PREFIX:procs:CHANNEL           the processes with members, by the time when they are to be forgotten
    PREFIX:here:CHANNEL:PROCESS    the members of one process
    PREFIX:DB:live:CHANNEL         no key, but the pub/sub channel (these know no databases)

Messages travel together as ``ID-BEFORE [ID SIZE]...\\n`` and the data of all.
"""

import re

from webfw.pubsub.messages import Message, decode

__all__ = ["ANNOUNCE", "LOOK", "MEMORY", "PRESENCE", "PUBLISH", "known", "missing", "newer", "unpack"]

#: Milliseconds for which the newest id of a channel is known after its last message.
MEMORY = 86_400_000

_ID = re.compile(r"[0-9a-f]{8}-\d{13}-\d{5}", re.ASCII)

# What the scripts that know of chains share.  A chain begins with an id of number 0, which no message has.
_COMMON = """
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local prefix, live, word, size, age, memory =
    ARGV[1], ARGV[2], ARGV[3], tonumber(ARGV[4]), tonumber(ARGV[5]), ARGV[6]
local function newest(channel)
    local last = redis.call('GET', prefix .. ':last:' .. channel)
    if not last then
        last = string.format('%s-%013d-00000', word, now)
        redis.call('SET', prefix .. ':last:' .. channel, last, 'PX', memory)
        redis.call('DEL', prefix .. ':log:' .. channel)
    end
    return last
end
"""

# Arguments: the common ones, then channel and data of each message.  Returns the ids.
PUBLISH = (
    _COMMON
    + """
local ids, names, channels = {}, {}, {}
for i = 7, #ARGV, 2 do
    local name = ARGV[i]
    local c = channels[name]
    if not c then
        local last = newest(name)
        c = {life = string.sub(last, 1, 9), ms = tonumber(string.sub(last, 10, 22)),
             number = tonumber(string.sub(last, 24)), last = last, head = {last}, data = {}, log = {}}
        channels[name] = c
        names[#names + 1] = name
    end
    c.number = c.number + 1
    if now > c.ms then
        c.ms, c.number = now, 1
    elseif c.number > 99999 then
        c.ms, c.number = c.ms + 1, 1
    end
    local at = string.format('%013d-%05d', c.ms, c.number)
    local n = #c.data + 1
    c.log[n] = {at, string.sub(c.last, 10)}
    c.last = c.life .. at
    c.data[n] = ARGV[i + 1]
    c.head[2 * n] = c.last
    c.head[2 * n + 1] = #ARGV[i + 1]
    ids[#ids + 1] = c.last
end
for _, name in ipairs(names) do
    local c = channels[name]
    redis.call('SET', prefix .. ':last:' .. name, c.last, 'PX', memory)
    if size > 0 and age > 0 then
        local log = prefix .. ':log:' .. name
        local field = string.sub(c.life, 1, 8)
        for n = math.max(1, #c.log - size + 1), #c.log do
            redis.call('XADD', log, c.log[n][1], field, c.log[n][2] .. c.data[n])
        end
        redis.call('XTRIM', log, 'MAXLEN', '=', size)
        redis.call('XTRIM', log, 'MINID', '=', string.format('%d', math.max(0, now - age)))
        redis.call('PEXPIRE', log, age)
    end
    redis.call('PUBLISH', live .. name, table.concat(c.head, ' ') .. '\\n' .. table.concat(c.data))
end
return table.concat(ids, ' ')
"""
)

# Arguments: the common ones, then channel, since ('' for none), until ('' for the newest) and limit (-1 for none).
# Returns the newest id, whether nothing is missing after since, and messages in the form in which they are pushed.
LOOK = (
    _COMMON
    + """
local channel, since, till, limit = ARGV[7], ARGV[8], ARGV[9], tonumber(ARGV[10])
local last = newest(channel)
if till == '' then till = last end
local life = string.sub(till, 1, 9)
if since == till or limit == 0 and since == '' or life ~= string.sub(last, 1, 9) then
    return {last, (since == '' or since == till) and 1 or 0, till .. '\\n'}
end
local known = string.sub(since, 1, 9) == life
local log, entries = prefix .. ':log:' .. channel, nil
local from = string.format('%013d', math.max(0, now - age))
if known and string.sub(since, 10) > from then from = '(' .. string.sub(since, 10) end
if since == '' and limit > 0 then
    local back = redis.call('XREVRANGE', log, string.sub(till, 10), from, 'COUNT', limit)
    entries = {}
    for i = #back, 1, -1 do entries[#entries + 1] = back[i] end
elseif known and since > till then
    entries = {}
else
    entries = redis.call('XRANGE', log, from, string.sub(till, 10))
end
local first = 1
if limit >= 0 then first = math.max(1, #entries - limit + 1) end
local complete, at = since == '' or known, string.sub(since, 10)
local head, data = {since}, {}
for i, entry in ipairs(entries) do
    local value = entry[2][2]
    local before = string.sub(value, 1, 19)
    if since ~= '' and before ~= at then complete = false end
    local ms, number = string.match(entry[1], '(%d+)-(%d+)')
    at = string.format('%013d-%05d', ms, number)
    if i == first then head[1] = life .. before end
    if i >= first then
        head[#head + 1] = life .. at
        head[#head + 1] = #value - 19
        data[#data + 1] = string.sub(value, 20)
    end
end
if since ~= '' and life .. at ~= till then complete = false end
if #data == 0 then head[1] = till end
return {last, complete and 1 or 0, table.concat(head, ' ') .. '\\n' .. table.concat(data)}
"""
)

# Arguments: prefix, channel, process, milliseconds to live, whether this replaces all that was said before, then member
# and count of each (0: has gone).  Returns 0 when all is wanted.
ANNOUNCE = """
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local procs = ARGV[1] .. ':procs:' .. ARGV[2]
local here = ARGV[1] .. ':here:' .. ARGV[2] .. ':' .. ARGV[3]
local ttl = tonumber(ARGV[4])
if ARGV[5] == '1' then
    redis.call('DEL', here)
elseif redis.call('EXISTS', here) == 0 then
    return 0
end
for i = 6, #ARGV, 2 do
    if ARGV[i + 1] == '0' then
        redis.call('HDEL', here, ARGV[i])
    else
        redis.call('HSET', here, ARGV[i], ARGV[i + 1])
    end
end
redis.call('ZREMRANGEBYSCORE', procs, '-inf', now)
if redis.call('PEXPIRE', here, ttl) == 1 then
    redis.call('ZADD', procs, now + ttl, ARGV[3])
    if redis.call('PTTL', procs) < ttl then redis.call('PEXPIRE', procs, ttl) end
else
    redis.call('ZREM', procs, ARGV[3])
end
return 1
"""

# Arguments: prefix, channel.  Returns member and count in turn; a member may come from several processes.
PRESENCE = """
local found = {}
for _, process in ipairs(redis.call('ZRANGE', ARGV[1] .. ':procs:' .. ARGV[2], 0, -1)) do
    for _, word in ipairs(redis.call('HGETALL', ARGV[1] .. ':here:' .. ARGV[2] .. ':' .. process)) do
        found[#found + 1] = word
    end
end
return found
"""


def known(id: str) -> bool:
    """Whether it has the form of an id."""
    return _ID.fullmatch(id) is not None


def newer(id: str, than: str) -> bool:
    """Whether an id stands after another; one of another life does."""
    return id > than or id[:9] != than[:9]


def unpack(channel: str, pushed: bytes) -> tuple[str, list[Message]]:
    """The id before the first message, and the messages.

    :raises ValueError: something else has written it.
    """
    head, _, body = pushed.partition(b"\n")
    words = head.decode("ascii").split()
    if len(words) % 2 == 0 or not all(map(known, (words[0], *words[1::2]))):
        raise ValueError(f"no messages of webfw: {pushed[:40]!r}")
    messages = []
    start = 0
    for i in range(1, len(words), 2):
        end = start + int(words[i + 1])
        messages.append(Message(channel, words[i], decode(body[start:end])))
        start = end
    return words[0], messages


def missing(position: str, before: str, messages: list[Message]) -> bool:
    """Whether something is missing between a position and messages that were pushed on an unbroken connection.

    :param before: the id that stands before the first of them.
    """
    if before == position:
        return False
    if before[:9] != position[:9]:
        # A chain that begins anew while we are connected: all of it has been pushed to us.
        return not before.endswith("-00000")
    if before > position:
        return True
    # Seen before, or made by a server that has forgotten what we have seen.
    return position < messages[-1].id and all(position != message.id for message in messages)
