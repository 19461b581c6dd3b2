/* SPDX-License-Identifier: MIT */
#include "canon/event.h"

const char *event_kind_name(enum event_kind kind)
{
    switch (kind) {
    case EVENT_START:
        return "START";
    case EVENT_BLOCK_BEGIN:
        return "BLOCK_BEGIN";
    case EVENT_TEXT:
        return "TEXT";
    case EVENT_REASONING:
        return "REASONING";
    case EVENT_SIGNATURE:
        return "SIGNATURE";
    case EVENT_TOOL_ARGS:
        return "TOOL_ARGS";
    case EVENT_CITATION:
        return "CITATION";
    case EVENT_LOGPROBS:
        return "LOGPROBS";
    case EVENT_BLOCK_END:
        return "BLOCK_END";
    case EVENT_USAGE:
        return "USAGE";
    case EVENT_STOP:
        return "STOP";
    case EVENT_ERROR:
        return "ERROR";
    case EVENT_KEEPALIVE:
        return "KEEPALIVE";
    case EVENT_KIND_COUNT:
        break;
    }
    BUG("no such kind of event");
}

const char *event_block_name(enum block_kind kind)
{
    switch (kind) {
    case BLOCK_TEXT:
        return "TEXT";
    case BLOCK_REASONING:
        return "REASONING";
    case BLOCK_REDACTED:
        return "REDACTED";
    case BLOCK_TOOL:
        return "TOOL";
    case BLOCK_REFUSAL:
        return "REFUSAL";
    case BLOCK_MEDIA:
        return "MEDIA";
    case BLOCK_VENDOR:
        return "VENDOR";
    case BLOCK_KIND_COUNT:
        break;
    }
    BUG("no such kind of block");
}

const char *event_stop_name(enum stop_reason reason)
{
    switch (reason) {
    case STOP_END:
        return "END";
    case STOP_LENGTH:
        return "LENGTH";
    case STOP_TOOL:
        return "TOOL";
    case STOP_SEQUENCE:
        return "SEQUENCE";
    case STOP_FILTER:
        return "FILTER";
    case STOP_REFUSAL:
        return "REFUSAL";
    case STOP_PAUSE:
        return "PAUSE";
    case STOP_CONTEXT:
        return "CONTEXT";
    case STOP_OTHER:
        return "OTHER";
    case STOP_REASON_COUNT:
        break;
    }
    BUG("no such reason to stop");
}
