//! What every module and process shares: settings, messages in hand, groups, variables, modules' interface.
