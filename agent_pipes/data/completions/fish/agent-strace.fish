# Completion for fish of the commands of agent-pipes. Made by `make completions`.

# The command that lies beside this file, for when it is not on PATH.
set -g __agent_pipes_beside (status dirname)/../../../bin/agent-strace

function __agent_pipes
    set -l words (commandline -opc)
    set -l current (commandline -ct)
    set -l at (contains -i -- -- $words)
    if test -n "$at"; and string match -q -- '*agent-strace watch' "$words[1..2]"
        # What stands behind is the line of another command.
        __fish_complete_subcommand --commandline $words[(math $at + 1)..-1] $current
        return
    end
    set -l program $__agent_pipes_beside
    command -q agent-strace; and set program agent-strace
    # The value of --option=value is what is completed.
    set -l before (string match -r -- '^--[^=]+=' $current)
    for item in (env _AGENT_STRACE_COMPLETE=fish_complete COMP_WORDS=(commandline -cp | string collect) COMP_CWORD="$current" \
            $program </dev/null 2>/dev/null)
        set -l part (string split -m 1 , -- $item)
        switch $part[1]
            case plain
                printf '%s\n' "$before$part[2]"
            case file
                printf '%s\n' "$before"(complete -C "'' "(string replace -- "$before" '' $current))
            case dir
                printf '%s\n' "$before"(__fish_complete_directories (string replace -- "$before" '' $current))
        end
    end
end

for name in agent-strace trace-alert trace-cost trace-detect-cost trace-detect-duration trace-detect-loop trace-detect-retry trace-detect-scope trace-detect-stall trace-kill trace-list trace-status trace-tail
    complete --command $name --no-files --keep-order --arguments '(__agent_pipes)'
end
