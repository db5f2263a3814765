# Completion of cowmount for fish. What can stand where is asked of the command itself (Sources/cowmount/Completion.swift).

function __cowmount_complete
    set -l words (commandline --tokenize --cut-at-cursor --current-process)
    set -l current (commandline --current-token --cut-at-cursor)
    set -l lines (command $words[1] ---complete $words[2..] "$current" 2>/dev/null)
    set -l head (string split \t -- $lines[1])
    set -l prefix $head[2]
    for line in $lines[2..]
        printf '%s\n' $prefix$line
    end
    set -l rest (string sub --start (math (string length -- "$prefix") + 1) -- "$current")
    switch $head[1]
        case files
            for path in (__fish_complete_path $rest)
                printf '%s\n' $prefix$path
            end
        case directories
            for path in (__fish_complete_directories $rest '')
                printf '%s\n' $prefix$path
            end
    end
end

complete --command cowmount --no-files --keep-order --arguments '(__cowmount_complete)'
