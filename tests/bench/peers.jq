# What trace-cost | trace-detect-retry | trace-detect-cost do, as one jq program: the dollars of each response and of its session,
# the failures of each command since it last ended well, and a violation where either is beyond its limit. Calls are
# forgotten with the next response: jq copies what it changes, and would take the square of the time.
def price: {"claude-opus-4-5": [5, 25, 0.5, 6.25]};
def dollars: (price[.model] // [0, 0, 0, 0]) as $p | .usage
  | ((.input_tokens // 0) * $p[0] + (.output_tokens // 0) * $p[1] + (.cache_read_input_tokens // 0) * $p[2] + (.cache_creation_input_tokens // 0) * $p[3]) / 1e6;
def violation($e; $watcher; $message): {event_type: "violation", timestamp: $e.timestamp, session_id: $e.session_id, parent_id: $e.event_id,
  data: {watcher: $watcher, level: "critical", message: $message}};
foreach inputs as $e ({};
  .out = [$e]
  | if $e.event_type == "tool_call" then .calls[$e.event_id] = ($e.data.arguments.command // ($e.data.arguments | tojson))
    elif $e.event_type == "error" or $e.event_type == "tool_result" then
      .calls[$e.parent_id] as $command
      | if $command == null then .
        elif $e.event_type == "error" or ($e.data.exit_code // 0) != 0 then
          .failed[$command] += 1
          | if .failed[$command] == 5 then .out += [violation($e; "retry"; $command + " failed 5 times")] else . end
        elif .failed[$command] then del(.failed[$command])
        else . end
    elif $e.event_type == "llm_response" then
      ($e.data | dollars) as $usd | .calls = {} | .spent[$e.session_id] += $usd
      | .out = [$e * {data: {cost: {usd: $usd, session_usd: .spent[$e.session_id]}}}]
      | if .spent[$e.session_id] > $max and .said[$e.session_id] == null
        then .said[$e.session_id] = true | .out += [violation($e; "cost"; "too dear")] else . end
    else . end;
  .out[])
